import java.io.IOException;
import java.net.Socket;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * CheckedPool asks its idle connections now and then whether they live, without keepalive, and replaces one after the other.
 * Arguments and answer are those of ../go/zoo/main.go.
 */
class CheckedPool {
    static final Deque<Socket> IDLE = new ArrayDeque<>();

    static Socket checked(Socket socket) throws IOException {
        socket.getOutputStream().write("hello\n".getBytes());
        socket.getInputStream().readNBytes(6);
        return socket;
    }

    public static void main(String[] args) throws Exception {
        int n = Integer.parseInt(args[0]);
        int at = args[1].lastIndexOf(':');
        String host = args[1].substring(0, at);
        int port = Integer.parseInt(args[1].substring(at + 1));
        for (int i = 0; i < n; i++) {
            IDLE.push(checked(new Socket(host, port)));
        }
        System.out.println("{\"ready\":true,\"truth\":{}}");
        Thread keeper = new Thread(() -> {
            try {
                while (true) {
                    Thread.sleep(100);
                    IDLE.removeLast().close();
                    IDLE.addFirst(new Socket(host, port));
                    for (Socket socket : IDLE) {
                        checked(socket);
                    }
                }
            } catch (IOException | InterruptedException e) {
                throw new IllegalStateException(e);
            }
        });
        keeper.setDaemon(true);
        keeper.start();
        while (System.in.read() != -1) {
            // until the end of stdin
        }
        System.exit(0);
    }
}
