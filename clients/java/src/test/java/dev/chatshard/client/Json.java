package dev.chatshard.client;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Reads JSON, as the files of the tests have it: integers are longs, and there are no others. */
final class Json {
    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    static Object read(Path file) throws IOException {
        return parse(Files.readString(file));
    }

    static Object parse(String text) {
        return new Json(text).value();
    }

    private char peek() {
        while (Character.isWhitespace(text.charAt(at)) || text.charAt(at) == ','
                || text.charAt(at) == ':') {
            at++;
        }
        return text.charAt(at);
    }

    private Object value() {
        char first = peek();
        switch (first) {
            case '{':
                return object();
            case '[':
                return array();
            case '"':
                return string();
            default:
                int from = at;
                while (at < text.length() && "+-._".indexOf(text.charAt(at)) >= 0
                        || at < text.length() && Character.isLetterOrDigit(text.charAt(at))) {
                    at++;
                }
                return word(text.substring(from, at));
        }
    }

    private static Object word(String word) {
        return switch (word) {
            case "null" -> null;
            case "true" -> true;
            case "false" -> false;
            default -> Long.parseUnsignedLong(word);
        };
    }

    private Map<String, Object> object() {
        Map<String, Object> object = new LinkedHashMap<>();
        at++;
        while (peek() != '}') {
            String name = string();
            object.put(name, value());
        }
        at++;
        return object;
    }

    private List<Object> array() {
        List<Object> array = new ArrayList<>();
        at++;
        while (peek() != ']') {
            array.add(value());
        }
        at++;
        return array;
    }

    private String string() {
        StringBuilder string = new StringBuilder();
        peek();
        for (at++; text.charAt(at) != '"'; at++) {
            char letter = text.charAt(at);
            if (letter == '\\') {
                letter = text.charAt(++at);
                if (letter == 'u') {
                    letter = (char) Integer.parseInt(text.substring(at + 1, at + 5), 16);
                    at += 4;
                } else {
                    int escaped = "nrtbf".indexOf(letter);
                    letter = escaped < 0 ? letter : "\n\r\t\b\f".charAt(escaped);
                }
            }
            string.append(letter);
        }
        at++;
        return string.toString();
    }
}
