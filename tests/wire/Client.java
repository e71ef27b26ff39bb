import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.Arrays;
import java.util.Objects;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

import org.postgresql.PGConnection;
import org.postgresql.util.PGInterval;
import org.postgresql.util.PGobject;
import org.postgresql.util.PSQLException;

/**
 * pgjdbc against a server: every line asserts what PostgreSQL 15 does.
 *
 * <pre>
 * Client session URL OPTIONS       what a table needs at its end
 * Client password URL PASSWORD CERTIFICATE
 * </pre>
 */
public final class Client {
    private static final String ENDLESS = "SELECT count(*) FROM generate_series(1, 100000000000) AS t (g)";

    private Client() {
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("session")) {
            session(arguments[1], arguments[2]);
        } else {
            password(arguments[1], arguments[2], arguments[3]);
        }
        System.out.println("all is well");
    }

    private interface Action {
        void run() throws SQLException;
    }

    private static SQLException fails(String state, Action action) {
        try {
            action.run();
        } catch (SQLException error) {
            equal(state, error.getSQLState(), error.toString());
            return error;
        }
        throw new AssertionError("no error " + state);
    }

    private static void equal(Object expected, Object got, String what) {
        if (!Objects.deepEquals(expected, got)) {
            throw new AssertionError(what + ": " + got + " is not " + expected);
        }
    }

    private static Connection connect(String url, String mode) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", "tidemark");
        properties.setProperty("preferQueryMode", mode);
        // A statement is prepared on the server, and its values binary, from the second time on.
        properties.setProperty("prepareThreshold", "1");
        properties.setProperty("ApplicationName", "check");
        return DriverManager.getConnection(url, properties);
    }

    private static void session(String url, String options) throws Exception {
        for (String mode : new String[] {"extended", "simple", "extendedForPrepared", "extendedCacheEverything"}) {
            try (Connection connection = connect(url, mode)) {
                equal("15", connection.getMetaData().getDatabaseProductVersion().split("\\.")[0], "the version");
                types(connection, mode);
            }
        }
        try (Connection connection = connect(url, "extended")) {
            statements(connection, options);
            portals(connection);
            copy(connection);
            transactions(connection);
            settings(connection);
            try (Connection watcher = connect(url, "extended")) {
                stopping(connection, watcher);
            }
        }
    }

    private static Object value(Connection connection, String type, Object value, int sqlType) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT ?::" + type + ", NULL::" + type)) {
            Object got = null;
            // The third time is one of a server-side statement with binary values.
            for (int time = 0; time < 3; time++) {
                if (sqlType == Types.OTHER) {
                    statement.setObject(1, value);
                } else {
                    statement.setObject(1, value, sqlType);
                }
                try (ResultSet rows = statement.executeQuery()) {
                    equal(true, rows.next(), type);
                    got = value instanceof OffsetDateTime || value instanceof LocalDateTime || value instanceof LocalDate
                        ? rows.getObject(1, value.getClass()) : rows.getObject(1);
                    equal(null, rows.getObject(2), type);
                    equal(true, rows.wasNull(), type);
                    equal(false, rows.next(), type);
                }
                if (got instanceof Array) {
                    got = ((Array) got).getArray();
                }
                equal(value instanceof Array ? ((Array) value).getArray() : value, got, type);
            }
            return got;
        }
    }

    private static void types(Connection connection, String mode) throws SQLException {
        value(connection, "bool", true, Types.BOOLEAN);
        value(connection, "int4", Integer.MIN_VALUE, Types.INTEGER);
        value(connection, "int8", Long.MIN_VALUE, Types.BIGINT);
        value(connection, "float4", 1.5f, Types.REAL);
        for (double number : new double[] {0.1, Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, 5e-324}) {
            value(connection, "float8", number, Types.DOUBLE);
        }
        value(connection, "numeric", new BigDecimal("-12345678901234567890.123456789"), Types.NUMERIC);
        value(connection, "numeric(10,2)", new BigDecimal("1.50"), Types.NUMERIC);
        value(connection, "text", "\u00e4'\"\\ \u2603", Types.VARCHAR);
        value(connection, "varchar(7)", "short", Types.VARCHAR);
        if (!mode.equals("simple")) {
            // The driver cannot write them into the text of a statement.
            value(connection, "bytea", new byte[] {0, -1, 39, 92}, Types.BINARY);
        }
        value(connection, "date", LocalDate.of(2024, 2, 29), Types.OTHER);
        value(connection, "timestamp", LocalDateTime.of(2024, 2, 29, 23, 59, 59, 999_999_000), Types.OTHER);
        value(connection, "timestamp", LocalDateTime.MAX, Types.OTHER);
        value(connection, "timestamptz", OffsetDateTime.of(2024, 2, 29, 23, 59, 59, 999_999_000, ZoneOffset.UTC), Types.OTHER);
        value(connection, "timestamptz", OffsetDateTime.MAX, Types.OTHER);
        value(connection, "timestamptz", OffsetDateTime.MIN, Types.OTHER);
        value(connection, "uuid", UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), Types.OTHER);
        value(connection, "interval", new PGInterval("1 year 2 mons -3 days 04:05:06.789"), Types.OTHER);
        for (String type : new String[] {"json", "jsonb"}) {
            PGobject document = new PGobject();
            document.setType(type);
            document.setValue("{\"a\": [1, null, \"\u00e4\"]}");
            value(connection, type, document, Types.OTHER);
        }
        value(connection, "int4[]", connection.createArrayOf("int4", new Integer[] {1, null, -3}), Types.ARRAY);
        value(connection, "int8[]", connection.createArrayOf("int8", new Long[] {}), Types.ARRAY);
        value(connection, "float8[]", connection.createArrayOf("float8", new Double[] {0.1, Double.NaN}), Types.ARRAY);
        value(connection, "bool[]", connection.createArrayOf("bool", new Boolean[] {true, null}), Types.ARRAY);
        value(connection, "text[]",
            connection.createArrayOf("text", new String[] {"a,b", null, "NULL", "", "\"", "\\", "{}"}), Types.ARRAY);
        value(connection, "numeric[]",
            connection.createArrayOf("numeric", new BigDecimal[] {new BigDecimal("1.5"), null}), Types.ARRAY);
        try (Statement statement = connection.createStatement();
             ResultSet rows = statement.executeQuery("SELECT 7::int2, 1::int4 AS \"A b\", NULL::text AS c")) {
            equal("A b", rows.getMetaData().getColumnLabel(2), mode);
            equal(Types.SMALLINT, rows.getMetaData().getColumnType(1), mode);
            rows.next();
            equal((short) 7, rows.getShort(1), mode);
        }
    }

    private static void statements(Connection connection, String options) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE t (ts timestamptz, v int4, w text) " + options);
            equal(2, statement.executeUpdate("INSERT INTO t VALUES ('2024-01-01', 1, 'a'), ('2024-01-02', 2, NULL)"), "rows");
            // Several statements are one call, with a result each.
            equal(true, statement.execute("SELECT 1; INSERT INTO t VALUES ('2024-01-03', 3, 'c'); SELECT 'x'"), "a result");
            equal(false, statement.getMoreResults(), "an update");
            equal(1, statement.getUpdateCount(), "its rows");
            equal(true, statement.getMoreResults(), "a result");
        }
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO t VALUES (?, ?, ?)")) {
            for (int row = 0; row < 1000; row++) {
                insert.setObject(1, OffsetDateTime.of(2024, 2, 1, 0, 0, 0, 0, ZoneOffset.UTC));
                insert.setInt(2, row);
                insert.setString(3, row % 2 == 0 ? "even" : null);
                insert.addBatch();
            }
            equal(1000, Arrays.stream(insert.executeBatch()).sum(), "a batch");
        }
        try (PreparedStatement select = connection.prepareStatement("SELECT count(*), sum(v) FROM t WHERE v >= ? AND w = ?")) {
            for (int time = 0; time < 7; time++) {
                select.setInt(1, 100);
                select.setString(2, "even");
                try (ResultSet rows = select.executeQuery()) {
                    rows.next();
                    equal(450L, rows.getLong(1), "count");
                    equal(247_050L, rows.getLong(2), "sum");
                }
            }
            equal(2, select.getParameterMetaData().getParameterCount(), "parameters");
        }
    }

    private static void portals(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        String sql = "SELECT g FROM generate_series(1, %d) AS t (g)";
        try (Statement one = connection.createStatement(); Statement other = connection.createStatement()) {
            one.setFetchSize(1000);
            other.setFetchSize(7);
            try (ResultSet many = one.executeQuery(String.format(sql, 200_000));
                 ResultSet few = other.executeQuery(String.format(sql, 100))) {
                for (long number = 1; many.next(); number++) {
                    equal(number, many.getLong(1), "row");
                    if (number % 2000 == 0 || number == 200_000) {
                        equal(true, few.next(), "a row of the other");
                        equal(number / 2000, few.getLong(1), "row of the other");
                    }
                    if (number == 200_000) {
                        equal(false, few.next(), "the end of the other");
                    }
                }
            }
        }
        connection.commit();
        connection.setAutoCommit(true);
        try (Statement statement = connection.createStatement()) {
            statement.setMaxRows(5);
            int count = 0;
            try (ResultSet rows = statement.executeQuery(String.format(sql, 1_000_000))) {
                while (rows.next()) {
                    count++;
                }
            }
            equal(5, count, "at most so many rows");
        }
    }

    private static void copy(Connection connection) throws Exception {
        var manager = connection.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder lines = new StringBuilder();
        for (int row = 0; row < 20_000; row++) {
            lines.append("2024-06-01,").append(row).append(",\"a,b\"\n");
        }
        equal(20_000L, manager.copyIn("COPY t FROM STDIN (FORMAT csv)", new StringReader(lines.toString())), "copied");
        StringWriter out = new StringWriter();
        equal(3L, manager.copyOut("COPY (SELECT v, w FROM t WHERE ts = '2024-06-01' AND v < 3 ORDER BY v) TO STDOUT", out),
            "copied");
        equal("0\ta,b\n1\ta,b\n2\ta,b\n", out.toString(), "what was copied");
        fails("22P02", () -> {
            try {
                manager.copyIn("COPY t FROM STDIN (FORMAT csv)", new StringReader("2024-06-02,x,y\n"));
            } catch (java.io.IOException error) {
                throw new SQLException(error);
            }
        });
    }

    private static void transactions(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.executeUpdate("INSERT INTO t VALUES ('2024-07-01', 1, 'gone')");
            connection.rollback();
            statement.executeUpdate("INSERT INTO t VALUES ('2024-07-01', 2, 'kept')");
            var savepoint = connection.setSavepoint();
            statement.executeUpdate("INSERT INTO t VALUES ('2024-07-01', 3, 'gone')");
            SQLException error = fails("42P01", () -> statement.executeQuery("SELECT * FROM missing"));
            var fields = ((PSQLException) error).getServerErrorMessage();
            equal("relation \"missing\" does not exist", fields.getMessage(), "the message");
            equal("ERROR", fields.getSeverity(), "the severity");
            equal(15, fields.getPosition(), "the place");
            fails("25P02", () -> statement.executeQuery("SELECT 1"));
            connection.rollback(savepoint);
            connection.commit();
            try (ResultSet rows = statement.executeQuery("SELECT v FROM t WHERE ts = '2024-07-01'")) {
                equal(true, rows.next(), "what was committed");
                equal(2, rows.getInt(1), "what was committed");
                equal(false, rows.next(), "what was rolled back");
            }
            connection.commit();
            connection.setReadOnly(true);
            fails("25006", () -> statement.executeUpdate("INSERT INTO t VALUES ('2024-07-01', 1, 'x')"));
            connection.rollback();
            connection.setReadOnly(false);
            connection.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
            equal(Connection.TRANSACTION_REPEATABLE_READ, connection.getTransactionIsolation(), "isolation");
            connection.commit();
        }
        connection.setAutoCommit(true);
        equal(true, connection.isValid(5), "valid");
    }

    private static void settings(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            for (String[] pair : new String[][] {
                {"application_name", "check"}, {"extra_float_digits", "3"}, {"client_encoding", "UTF8"}}) {
                try (ResultSet rows = statement.executeQuery("SHOW " + pair[0])) {
                    rows.next();
                    equal(pair[1], rows.getString(1), pair[0]);
                }
            }
            fails("42704", () -> statement.execute("SET nonsense = 1"));
            statement.execute("SET search_path = other, public");
            try (ResultSet rows = statement.executeQuery("SHOW search_path")) {
                rows.next();
                equal("other, public", rows.getString(1), "search_path");
            }
            statement.execute("DISCARD ALL");
            try (ResultSet rows = statement.executeQuery("SHOW search_path")) {
                rows.next();
                equal("\"$user\", public", rows.getString(1), "search_path");
            }
        }
    }

    /** The driver cancels a statement once only, so not before the server is at work on it. */
    private static void awaitRunning(Connection watcher, String query) throws SQLException {
        String question = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = ?";
        try (PreparedStatement statement = watcher.prepareStatement(question)) {
            statement.setString(1, query);
            long deadline = System.nanoTime() + TimeUnit.MINUTES.toNanos(1);
            boolean isRunning = false;
            while (!isRunning) {
                equal(true, System.nanoTime() < deadline, query + " starts");
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    isRunning = rows.getLong(1) == 1;
                }
            }
        }
    }

    private static void stopping(Connection connection, Connection watcher) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            fails("57014", () -> statement.executeQuery(ENDLESS));
            statement.setQueryTimeout(0);
            statement.execute("SET statement_timeout = 50");
            fails("57014", () -> statement.executeQuery(ENDLESS));
            statement.execute("SET statement_timeout = 0");
            var running = CompletableFuture.supplyAsync(() -> fails("57014", () -> statement.executeQuery(ENDLESS)));
            awaitRunning(watcher, ENDLESS);
            statement.cancel();
            running.get();
            try (ResultSet rows = statement.executeQuery("SELECT 1")) {
                equal(true, rows.next(), "the session goes on");
            }
        }
    }

    private static void password(String url, String password, String certificate) throws SQLException {
        Properties plain = new Properties();
        plain.setProperty("user", "tidemark");
        plain.setProperty("password", password);
        plain.setProperty("sslmode", "disable");
        Properties tls = (Properties) plain.clone();
        tls.setProperty("sslmode", "verify-full");
        tls.setProperty("sslrootcert", certificate);
        for (Properties properties : new Properties[] {plain, tls}) {
            try (Connection connection = DriverManager.getConnection(url, properties);
                 Statement statement = connection.createStatement();
                 ResultSet rows = statement.executeQuery("SELECT current_user")) {
                rows.next();
                equal("tidemark", rows.getString(1), "who it is");
            }
            Properties wrong = (Properties) properties.clone();
            wrong.setProperty("password", "wrong");
            fails("28P01", () -> DriverManager.getConnection(url, wrong).close());
            Properties nowhere = (Properties) properties.clone();
            fails("3D000", () -> DriverManager.getConnection(url.replace("/tidemark", "/nowhere"), nowhere).close());
        }
    }
}
