// The client of chatshard for Node.

export { Client, connect } from "./client.js";
export type { CallOptions, Command } from "./command.js";
export * from "./errors.js";
export * from "./generated-errors.js";
export * from "./generated.js";
export type { Attempt, ClientOptions, Hooks, TlsOptions } from "./options.js";
export { Watch, type WatchEvent, type WatchOptions } from "./watch.js";
