package dev.chatshard.client;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Method;
import java.lang.reflect.Parameter;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** The vectors of the protocol, and how they become arguments and compare with replies. */
final class Vectors {
    private static final Path FILE = Path.of("../../docs/reference/protocol-vectors.json");

    private Vectors() {}

    /** One request with its reply. */
    record Vector(String name, String command, long id, Map<String, Object> arguments,
            String request, int status, Map<String, Object> body, String compare, byte[] reply) {
        @Override
        public String toString() {
            return name;
        }
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> file() {
        try {
            return (Map<String, Object>) Json.read(FILE);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    @SuppressWarnings("unchecked")
    static List<Vector> part(String part) {
        List<Vector> vectors = new ArrayList<>();
        for (Object one : (List<Object>) file().get(part)) {
            Map<String, Object> of = (Map<String, Object>) one;
            vectors.add(new Vector((String) of.get("name"), (String) of.get("command"),
                    (Long) of.get("request_id"), (Map<String, Object>) of.get("arguments"),
                    (String) of.get("request"), ((Long) of.get("status")).intValue(),
                    (Map<String, Object>) of.get("body"), (String) of.get("compare"),
                    HexFormat.of().parseHex((String) of.get("reply"))));
        }
        return vectors;
    }

    /** The command with this name, or null if the client has none. */
    static Command<?> command(String name) {
        try {
            return (Command<?>) Class.forName("dev.chatshard.client." + pascal(name) + "Args")
                    .getDeclaredField("COMMAND").get(null);
        } catch (ReflectiveOperationException error) {
            return null;
        }
    }

    /** Builds the arguments of a command as a caller does. */
    static Arguments<?> arguments(String command, Map<String, Object> values) {
        try {
            Class<?> type = Class.forName("dev.chatshard.client." + pascal(command) + "Args");
            return (Arguments<?>) built(type, "of", values);
        } catch (ReflectiveOperationException error) {
            throw new AssertionError(command, error);
        }
    }

    private static Object built(Class<?> type, String factory, Map<String, Object> values)
            throws ReflectiveOperationException {
        Map<String, Object> left = new TreeMap<>(values);
        left.values().removeIf(value -> value == null);
        Method maker = method(type, factory);
        List<Object> given = new ArrayList<>();
        for (Parameter one : maker.getParameters()) {
            given.add(java(left.remove(snake(one.getName())), one.getParameterizedType()));
        }
        Object object = maker.invoke(null, given.toArray());
        for (Map.Entry<String, Object> one : left.entrySet()) {
            Method setter = method(object.getClass(), camel(one.getKey()));
            setter.invoke(object, java(one.getValue(), setter.getGenericParameterTypes()[0]));
        }
        return object;
    }

    private static Method method(Class<?> type, String name) throws NoSuchMethodException {
        for (Method one : type.getDeclaredMethods()) {
            if (one.getName().equals(name)) {
                one.setAccessible(true);
                return one;
            }
        }
        throw new NoSuchMethodException(type + "." + name);
    }

    /** A JSON value as a value of a type. */
    @SuppressWarnings("unchecked")
    private static Object java(Object value, Type type) throws ReflectiveOperationException {
        if (value == null) {
            return null;
        }
        if (type instanceof ParameterizedType list) {
            List<Object> items = new ArrayList<>();
            for (Object one : (List<Object>) value) {
                items.add(java(one, list.getActualTypeArguments()[0]));
            }
            return items;
        }
        if (type == int.class || type == Integer.class) {
            return ((Long) value).intValue();
        }
        if ((type == boolean.class || type == Boolean.class) && value instanceof Long flag) {
            return flag == 1;
        }
        Class<?> record = (Class<?>) type;
        if (!record.isRecord()) {
            return value;
        }
        Map<String, Object> fields = (Map<String, Object>) value;
        try {
            record.getDeclaredMethod("builder", String.class, String.class);
        } catch (NoSuchMethodException ignored) {
            try {
                record.getDeclaredMethod("builder", String.class, String.class, int.class);
            } catch (NoSuchMethodException none) {
                return canonical(record, fields);
            }
        }
        Object builder = built(record, "builder", fields);
        return method(builder.getClass(), "build").invoke(builder);
    }

    private static Object canonical(Class<?> record, Map<String, Object> fields)
            throws ReflectiveOperationException {
        List<Class<?>> types = new ArrayList<>();
        List<Object> values = new ArrayList<>();
        for (RecordComponent one : record.getRecordComponents()) {
            types.add(one.getType());
            values.add(java(fields.get(snake(one.getName())), one.getGenericType()));
        }
        return record.getDeclaredConstructor(types.toArray(Class<?>[]::new))
                .newInstance(values.toArray());
    }

    /** A reply as JSON has it. Flags are booleans, and a null list stands for null. */
    static Object plain(Object value) throws ReflectiveOperationException {
        if (value instanceof List<?> items) {
            List<Object> plain = new ArrayList<>();
            for (Object one : items) {
                plain.add(plain(one));
            }
            return plain;
        }
        if (value instanceof Integer number) {
            return number.longValue();
        }
        if (value instanceof WatchOp op) {
            return op.text();
        }
        if (value instanceof SyncOp op) {
            return op.text();
        }
        if (value == null || !value.getClass().isRecord()) {
            return value;
        }
        Map<String, Object> plain = new TreeMap<>();
        for (RecordComponent one : value.getClass().getRecordComponents()) {
            plain.put(snake(one.getName()), plain(one.getAccessor().invoke(value)));
        }
        return plain;
    }

    static String pascal(String name) {
        String camel = camel(name);
        return Character.toUpperCase(camel.charAt(0)) + camel.substring(1);
    }

    static String camel(String name) {
        StringBuilder camel = new StringBuilder();
        for (String word : name.split("_")) {
            camel.append(camel.isEmpty() ? word
                    : Character.toUpperCase(word.charAt(0)) + word.substring(1));
        }
        return camel.toString();
    }

    static String snake(String name) {
        return name.replaceAll("([A-Z])", "_$1").toLowerCase(java.util.Locale.ROOT);
    }
}
