//! The examples of the HTTP API as it was given, with their trailing commas.

/// The answer of `/chat/mine-list`.
pub const LIST_EXAMPLE: &str = r#"{
    "code": 200,
    "data": {
        "items": [
            {
                "id": "s_a7be32fecc0b2015",
                "chat_id": "s_a7be32fecc0b2015",
                "is_top": 0,
                "is_mute": 0,
                "is_show": 1,
                "is_hide": 0,
                "max_read_seq": 0,
                "last_online_time": 0,
            }
        ]
    },
    "msg": ""
}"#;
/// The answer of `/chat/detail`.
pub const DETAIL_EXAMPLE: &str = r#"{
    "code": 200,
    "data": {
        "items": [
            {
                "id": "s_a7be32fecc0b2015",
                "creator_id": "0x4c3f6cb0cd7df2977ea98e006b61bb899637d1ca",
                "type": 1,
                "status": 1,
                "is_enc": 0,
                "last_read_sequence": 0,
                "last_sequence": 0,
                "last_time": 0,
                "created_at": 0,
            }
        ]
    },
    "msg": ""
}"#;
/// The answer of `/chat/delete`.
pub const DELETE_EXAMPLE: &str = r#"{
    "code": 200,
    "data": null,
    "msg": ""
}"#;

/// The bytes of an example on the wire. No string of it may hold a blank or `,}`.
pub fn wire(example: &str) -> String {
    let tight: String = example.chars().filter(|c| !c.is_whitespace()).collect();
    tight.replace(",}", "}")
}
