package chatshard_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Each line of Go in the READMEs stands in an example or a test, apart from indentation. So it
// runs. Only the block with OpenTelemetry needs what this module must not have.
func TestBlocksOfTheReadmesAreExamples(t *testing.T) {
	examples := trimmed(t, "example_test.go") + trimmed(t, "chatshardtest/chatshardtest_test.go")
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
		if len(blocks) < 2 {
			t.Errorf("%s has %d blocks", name, len(blocks))
		}
		for _, block := range blocks {
			if strings.Contains(block[1], "go.opentelemetry.io") {
				continue
			}
			for _, line := range strings.Split(block[1], "\n") {
				line = strings.TrimSpace(line)
				if !strings.Contains(examples, "\n"+line+"\n") {
					t.Errorf("%s: %q is in no example", name, line)
				}
			}
		}
	}
}

func trimmed(t *testing.T, name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return "\n" + strings.Join(lines, "\n") + "\n"
}
