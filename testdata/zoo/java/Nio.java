import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;

/** Nio is a server in one loop. Arguments and answer are those of ../go/zoo/main.go. */
class Nio {
    public static void main(String[] args) throws Exception {
        int n = Integer.parseInt(args[0]);
        Selector selector = Selector.open();
        ServerSocketChannel server = ServerSocketChannel.open().bind(new InetSocketAddress(args[2], 0));
        server.configureBlocking(false).register(selector, SelectionKey.OP_ACCEPT);
        System.out.printf("{\"ready\":true,\"listen\":\"%s:%d\",\"truth\":{},\"held\":{\"ESTAB\":%d,\"LISTEN\":1}}%n",
                args[2], server.socket().getLocalPort(), n);
        Thread end = new Thread(() -> {
            try {
                while (System.in.read() != -1) {
                    // until the end of stdin
                }
            } catch (java.io.IOException e) {
                // that is an end too
            }
            System.exit(0);
        });
        end.start();
        ByteBuffer b = ByteBuffer.allocate(4096);
        while (true) {
            selector.select(key -> {
                try {
                    if (key.isAcceptable()) {
                        server.accept().configureBlocking(false).register(selector, SelectionKey.OP_READ);
                    } else if (!answer((SocketChannel) key.channel(), b)) {
                        key.channel().close();
                    }
                } catch (java.io.IOException e) {
                    throw new java.io.UncheckedIOException(e);
                }
            });
        }
    }

    /** answer says what it heard, and returns whether the guest is still there; one may go while its answer is under way. */
    static boolean answer(SocketChannel guest, ByteBuffer b) {
        try {
            if (guest.read(b.clear()) < 0) {
                return false;
            }
            guest.write(b.flip());
            return true;
        } catch (java.io.IOException e) {
            return false;
        }
    }
}
