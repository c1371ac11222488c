package dev.chatshard.client;

/** Whether a row of a {@link SyncItem} is in the user's list. */
public enum SyncOp {
    /** The row is in the list, as the item has it. */
    UPSERT("upsert"),

    /** The row left the list. */
    REMOVE("remove"),

    /** An op of a newer server. */
    UNKNOWN("");

    private final String text;

    SyncOp(String text) {
        this.text = text;
    }

    /** The op as the protocol has it, such as {@code upsert}. */
    public String text() {
        return text;
    }

    static SyncOp of(String text) {
        return switch (text) {
            case "upsert" -> UPSERT;
            case "remove" -> REMOVE;
            default -> UNKNOWN;
        };
    }
}
