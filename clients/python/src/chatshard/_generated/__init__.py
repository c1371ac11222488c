# Generated from docs/reference/protocol.json by clients/generate. Do not edit.
"""What clients/generate makes of the protocol."""
