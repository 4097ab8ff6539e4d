import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.util.ArrayList;
import java.util.List;

/** ResetKept logs the IOException and does not close the channel. Arguments and answer are those of ../go/zoo/main.go. */
class ResetKept {
    static final List<SocketChannel> CHANNELS = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        int n = Integer.parseInt(args[0]);
        int at = args[1].lastIndexOf(':');
        for (int i = 0; i < n; i++) {
            SocketChannel channel = SocketChannel.open(new InetSocketAddress(args[1].substring(0, at), Integer.parseInt(args[1].substring(at + 1))));
            CHANNELS.add(channel);
            channel.write(ByteBuffer.wrap("hello\n".getBytes()));
            try {
                channel.read(ByteBuffer.allocate(16));
                throw new IllegalStateException("no reset");
            } catch (IOException e) {
                // "it is gone anyway"
            }
        }
        System.out.printf("{\"ready\":true,\"truth\":{\"closed-fd\":%d},\"fates\":{\"dead\":%d},\"held\":{\"unlisted\":%d}}%n", n, n, n);
        while (System.in.read() != -1) {
            // until the end of stdin
        }
        System.exit(0);
    }
}
