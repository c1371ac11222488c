// A server for tests: `chatshard serve --ephemeral`, with free ports and a throw-away directory.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** How to start the server. */
export interface ServerOptions {
  /** The program. Default: the variable `CHATSHARD_BIN`, or else `chatshard` on the path. */
  program?: string;
  /** Further arguments of `chatshard serve`, such as `["--shards", "4"]`. */
  args?: readonly string[];
  /** Milliseconds until the server must be ready. Default 30 000. */
  timeoutMs?: number;
}

/** A server that runs. */
export interface TestServer extends AsyncDisposable {
  /** Address of the TCP door, for the option `addresses`. */
  readonly tcp: string;
  /** Address of the HTTP door; null without one. */
  readonly http: string | null;
  /** Address of the admin listener; null without one. */
  readonly admin: string | null;
  /** Ends the server, and waits until it is gone. */
  stop(): Promise<void>;
}

/** Starts an empty server. It ends with `stop`, and with this process at the latest. */
export async function startServer(options: ServerOptions = {}): Promise<TestServer> {
  const program = options.program ?? process.env["CHATSHARD_BIN"] ?? "chatshard";
  const args = ["serve", "--ephemeral", ...(options.args ?? [])];
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: plainEnv() });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const gone = new Promise<void>((resolve) => {
    child.once("error", () => resolve());
    child.once("close", () => resolve());
  }).then(() => void process.removeListener("exit", kill));
  const stop = async () => {
    child.kill("SIGTERM");
    const timer = setTimeout(kill, 5000);
    await gone;
    clearTimeout(timer);
  };
  try {
    const line = await firstLine(child, program, options.timeoutMs ?? 30_000);
    const { tcp, http, admin } = JSON.parse(line) as Pick<TestServer, "tcp" | "http" | "admin">;
    return { tcp, http, admin, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The environment without settings of a server, which are not meant for this one. */
function plainEnv(): NodeJS.ProcessEnv {
  const isOther = ([name]: [string, unknown]) => !name.startsWith("CHATSHARD_");
  return Object.fromEntries(Object.entries(process.env).filter(isOther));
}

/** The line with the addresses. Without it, the error has what the server said. */
function firstLine(child: ChildProcess, program: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4000);
    });
    const fail = (why: string) => reject(new Error(`${program} serve --ephemeral ${why}\n${said}`));
    const timer = setTimeout(() => fail(`was not ready in ${timeoutMs} ms`), timeoutMs);
    createInterface({ input: child.stdout! }).once("line", (line) => {
      clearTimeout(timer);
      resolve(line);
    });
    child.once("error", (error) => {
      clearTimeout(timer);
      fail(`did not start: ${error.message}`);
    });
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      fail(`ended with ${code ?? signal}`);
    });
  });
}
