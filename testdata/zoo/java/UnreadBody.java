import java.net.HttpURLConnection;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;

/** UnreadBody asks for the status and neither reads nor closes the body. Arguments and answer are those of ../go/zoo/main.go. */
class UnreadBody {
    static final List<HttpURLConnection> KEPT = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        int n = Integer.parseInt(args[0]);
        for (int i = 0; i < n; i++) {
            HttpURLConnection c = (HttpURLConnection) URI.create("http://" + args[1] + "/").toURL().openConnection();
            if (c.getResponseCode() != 200) {
                throw new IllegalStateException();
            }
            KEPT.add(c);
        }
        System.out.printf("{\"ready\":true,\"truth\":{\"unread-data\":%d},\"held\":{\"ESTAB unread\":%d}}%n", n, n);
        while (System.in.read() != -1) {
            // until the end of stdin
        }
        System.exit(0);
    }
}
