//! Predictions as bytes: a run keeps a score for every label of every example, which as JSON is four times as long.
//!
//! Little-endian. For each prediction: bytes of the example's id (u32), the id in UTF-8, true label (u32), predicted label
//! (u32), number of scores (u32), scores (f32 each).

use crate::record::Prediction;

/// Packs predictions.
pub(super) fn pack(predictions: &[Prediction]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for prediction in predictions {
        put_number(&mut bytes, prediction.example.len())?;
        bytes.extend_from_slice(prediction.example.as_bytes());
        put_number(&mut bytes, prediction.gold)?;
        put_number(&mut bytes, prediction.predicted)?;
        put_number(&mut bytes, prediction.scores.len())?;
        for score in &prediction.scores {
            bytes.extend_from_slice(&score.to_le_bytes());
        }
    }
    Ok(bytes)
}

fn put_number(bytes: &mut Vec<u8>, value: usize) -> Result<(), String> {
    let value = u32::try_from(value).map_err(|_| format!("{value} is too large to be kept"))?;
    bytes.extend_from_slice(&value.to_le_bytes());
    Ok(())
}

/// Unpacks predictions; `None` where the bytes end too early or an id is not UTF-8.
pub(super) fn unpack(mut bytes: &[u8]) -> Option<Vec<Prediction>> {
    let mut predictions = Vec::new();
    while !bytes.is_empty() {
        let length = number(&mut bytes)?;
        let example = std::str::from_utf8(bytes.split_off(..length)?).ok()?.to_owned();
        let gold = number(&mut bytes)?;
        let predicted = number(&mut bytes)?;
        let count = number(&mut bytes)?;
        let scores = bytes.split_off(..count.checked_mul(4)?)?;
        let scores = scores
            .chunks_exact(4)
            .map(|chunk| f32::from_le_bytes(chunk.try_into().expect("chunks of four")))
            .collect();
        predictions.push(Prediction { example, gold, predicted, scores });
    }
    Some(predictions)
}

fn number(bytes: &mut &[u8]) -> Option<usize> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    usize::try_from(u32::from_le_bytes(*head)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_bit_by_bit() {
        let predictions = vec![
            Prediction {
                example: "é1".into(),
                gold: 3,
                predicted: 0,
                scores: vec![-1.5, f32::NEG_INFINITY, 1e-40],
            },
            Prediction { example: String::new(), gold: 0, predicted: 7, scores: vec![] },
        ];
        assert_eq!(unpack(&pack(&predictions).unwrap()).unwrap(), predictions);
        assert_eq!(unpack(&[]).unwrap(), []);
    }

    #[test]
    fn cut_or_wrong_bytes_are_refused() {
        let whole =
            pack(&[Prediction { example: "ab".into(), gold: 1, predicted: 1, scores: vec![0.5] }]).unwrap();
        for length in 1..whole.len() {
            assert_eq!(unpack(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(unpack(&[0xff; 12]), None, "a length beyond the end");
    }
}
