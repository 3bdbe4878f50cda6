//! The text of a leader epoch checkpoint.

use super::LeaderEpochs;
use crate::error::ErrorKind;

#[test]
fn a_checkpoint_reads_as_kafka_writes_it() {
    let mut epochs = LeaderEpochs::default();
    assert_eq!((epochs.latest(), epochs.encode().as_str()), (None, "0\n0\n"));
    epochs.begin(0, 0);
    epochs.begin(3, 1500);
    assert_eq!((epochs.latest(), epochs.encode().as_str()), (Some(3), "0\n2\n0 0\n3 1500\n"));
    assert_eq!(LeaderEpochs::decode(b"0\n2\n0 0\n3 1500\n").unwrap(), epochs);
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    for text in [
        "",
        "1\n0\n",
        "0\n",
        "0\n1\n",
        "0\n1\n0 0\n1 1\n",
        "0\n2\n3 0\n0 1500\n",
        "0\n2\n0 5\n1 5\n",
        "0\n1\n0\n",
        "0\n1\n0 0 0\n",
        "0\n1\n-1 0\n",
        "0\n1\n0 -1\n",
        "0\n1\n2147483648 0\n",
        "0\n99999999999999999999\n",
    ] {
        let error = LeaderEpochs::decode(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CorruptMessage, "{text:?}");
    }
    assert!(LeaderEpochs::decode(&[0xff]).is_err());
}
