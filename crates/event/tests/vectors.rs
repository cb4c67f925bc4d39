//! Events and frames as real Salt wrote them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use saltern_base::hex;
use saltern_event::{FrameReader, Framing, frame, pack, unpack};

#[test]
fn events_and_frames_are_byte_for_byte_those_of_salt() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("vectors/event.json")).unwrap();
    let bytes = |name: &str| hex::decode(vectors[name].as_str().unwrap()).unwrap();
    let packed = bytes("event_hex");
    let event = unpack(&packed).unwrap();
    assert_eq!(event.tag, vectors["tag"].as_str().unwrap());
    assert_eq!(event.data.get_str("fun"), Some("test.ping"));
    assert_eq!(pack(&event), packed);
    for (framing, name) in
        [(Framing::Bare, "frame_unprefixed_hex"), (Framing::Length, "frame_length_prefixed_hex")]
    {
        let framed = bytes(name);
        assert_eq!(frame(&packed, framing), framed);
        let mut reader = FrameReader::new(1000);
        reader.push(&framed);
        assert_eq!(reader.next_body(), Ok(Some(packed.clone())));
        assert_eq!(reader.next_body(), Ok(None));
    }
}
