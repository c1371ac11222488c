package dev.chatshard.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.chatshard.client.testing.ChatshardServer;
import java.io.File;
import java.io.StringWriter;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The Java of both READMEs compiles and runs, but for what needs other libraries. */
class ReadmeTest {
    private static final Pattern BLOCK =
            Pattern.compile("(<!-- not compiled[^>]*-->\n)?```java\n(.*?)```", Pattern.DOTALL);
    private static final Pattern CLASS = Pattern.compile("public class (\\w+)");

    /** A class of its own for each block; those without a class get one. */
    private static String source(String block, String name) {
        if (CLASS.matcher(block).find()) {
            return CLASS.matcher(block).replaceFirst("public class " + name);
        }
        return """
                import dev.chatshard.client.*;
                import java.time.Duration;
                import java.util.*;
                import java.util.concurrent.CompletableFuture;

                public class %s {
                    public static void main(String[] arguments) throws Exception {
                        try (ChatshardClient client = ChatshardClient.connect(arguments[0])) {
                            %s
                        }
                    }
                }
                """.formatted(name, block);
    }

    @Test
    void allPlacesNameOneVersion() throws Exception {
        String version = ChatshardOptions.NAME.substring("chatshard-java/".length());
        for (String file : List.of("pom.xml", "README.md", "README.zh-CN.md")) {
            assertTrue(Files.readString(Path.of(file)).contains(
                    "<artifactId>chatshard-client</artifactId>\n"), file);
            assertTrue(Files.readString(Path.of(file)).contains(
                    "<version>" + version + "</version>"), file);
        }
        assertTrue(Files.readString(Path.of("manifest.txt")).contains(version));
    }

    @Test
    @Timeout(60)
    void itsJavaRuns(@TempDir Path directory) throws Exception {
        List<File> files = new ArrayList<>();
        List<String> names = new ArrayList<>();
        for (String readme : List.of("README.md", "README.zh-CN.md")) {
            Matcher blocks = BLOCK.matcher(Files.readString(Path.of(readme)));
            while (blocks.find()) {
                if (blocks.group(1) == null) {
                    String name = "Block" + names.size();
                    Path file = directory.resolve(name + ".java");
                    Files.writeString(file, source(blocks.group(2), name));
                    files.add(file.toFile());
                    names.add(name);
                }
            }
        }
        assertEquals(11, names.size());
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        assertNotNull(compiler, "a JDK is needed");
        StringWriter errors = new StringWriter();
        Path here = Path.of(ChatshardClient.class.getProtectionDomain().getCodeSource()
                .getLocation().toURI());
        try (StandardJavaFileManager manager = compiler.getStandardFileManager(null, null, null)) {
            boolean compiled = compiler.getTask(errors, manager, null,
                    List.of("-proc:none", "-cp", here.toString()),
                    null, manager.getJavaFileObjectsFromFiles(files)).call();
            assertTrue(compiled, errors.toString());
        }
        try (ChatshardServer server = ChatshardServer.start();
                URLClassLoader loader = new URLClassLoader(
                        new URL[] {directory.toUri().toURL()}, getClass().getClassLoader())) {
            for (String name : names) {
                Class<?> block = loader.loadClass(name);
                String[] arguments = {server.address()};
                block.getMethod("main", String[].class).invoke(null, (Object) arguments);
            }
        }
    }
}
