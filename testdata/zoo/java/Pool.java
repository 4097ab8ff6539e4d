import java.net.Socket;
import java.util.ArrayDeque;
import java.util.Deque;

/** Pool keeps idle connections, with keepalive. Arguments and answer are those of ../go/zoo/main.go. */
class Pool {
    static final Deque<Socket> IDLE = new ArrayDeque<>();

    public static void main(String[] args) throws Exception {
        int n = Integer.parseInt(args[0]);
        int at = args[1].lastIndexOf(':');
        for (int i = 0; i < n; i++) {
            Socket socket = new Socket(args[1].substring(0, at), Integer.parseInt(args[1].substring(at + 1)));
            socket.setKeepAlive(true);
            socket.getOutputStream().write("hello\n".getBytes());
            socket.getInputStream().readNBytes(6);
            IDLE.push(socket);
        }
        System.out.printf("{\"ready\":true,\"truth\":{},\"held\":{\"ESTAB keepalive\":%d}}%n", n);
        while (System.in.read() != -1) {
            // until the end of stdin
        }
        System.exit(0);
    }
}
