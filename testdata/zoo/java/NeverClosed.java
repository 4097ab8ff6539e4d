import java.net.Socket;
import java.util.ArrayList;
import java.util.List;

/** NeverClosed reads to the end and keeps the sockets in a list. Arguments and answer are those of ../go/zoo/main.go. */
class NeverClosed {
    static final List<Socket> SOCKETS = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        int n = Integer.parseInt(args[0]);
        int at = args[1].lastIndexOf(':');
        for (int i = 0; i < n; i++) {
            Socket socket = new Socket(args[1].substring(0, at), Integer.parseInt(args[1].substring(at + 1)));
            while (socket.getInputStream().read() != -1) {
                // to the end
            }
            SOCKETS.add(socket);
        }
        System.out.printf("{\"ready\":true,\"truth\":{\"close-wait\":%d},\"held\":{\"CLOSE-WAIT\":%d}}%n", n, n);
        while (System.in.read() != -1) {
            // until the end of stdin
        }
        System.exit(0);
    }
}
