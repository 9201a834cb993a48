//! Predictions as bytes: a run keeps a score for every label of every example, which as JSON is four times as long.
//!
//! Little-endian. For each prediction: bytes of the example's id (u32), the id in UTF-8, true label (u32), predicted label
//! (u32), number of scores (u32), scores (f32 each). A text has [`TEXT`] in the place of the true label, then: bytes of the
//! text (u32), the text in UTF-8, number of values (u32), values (f64 each), number of counts of fields (u32: 0 or 3), the
//! counts (u32 each).

use crate::record::{Answer, Prediction};

/// Stands where a true label stands, which is never that large.
const TEXT: u32 = u32::MAX;

/// Packs predictions.
pub(super) fn pack(predictions: &[Prediction]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for prediction in predictions {
        put_text(&mut bytes, &prediction.example)?;
        match &prediction.answer {
            Answer::Label { gold, predicted, scores } => {
                put_number(&mut bytes, *gold)?;
                put_number(&mut bytes, *predicted)?;
                put_number(&mut bytes, scores.len())?;
                scores.iter().for_each(|score| bytes.extend_from_slice(&score.to_le_bytes()));
            }
            Answer::Text { text, values, fields } => {
                bytes.extend_from_slice(&TEXT.to_le_bytes());
                put_text(&mut bytes, text)?;
                put_number(&mut bytes, values.len())?;
                values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
                let counts = fields.as_ref().map_or(&[][..], |counts| counts);
                put_number(&mut bytes, counts.len())?;
                counts.iter().for_each(|count| bytes.extend_from_slice(&count.to_le_bytes()));
            }
        }
    }
    Ok(bytes)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) -> Result<(), String> {
    put_number(bytes, text.len())?;
    bytes.extend_from_slice(text.as_bytes());
    Ok(())
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
        let example = text(&mut bytes)?;
        let gold = number(&mut bytes)?;
        let answer = if gold == TEXT as usize {
            let text = text(&mut bytes)?;
            let values = numbers(&mut bytes, f64::from_le_bytes)?;
            let fields = match numbers(&mut bytes, u32::from_le_bytes)?.as_slice() {
                [] => None,
                counts => Some(counts.try_into().ok()?),
            };
            Answer::Text { text, values, fields }
        } else {
            let predicted = number(&mut bytes)?;
            Answer::Label { gold, predicted, scores: numbers(&mut bytes, f32::from_le_bytes)? }
        };
        predictions.push(Prediction { example, answer });
    }
    Some(predictions)
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = number(bytes)?;
    Some(std::str::from_utf8(bytes.split_off(..length)?).ok()?.to_owned())
}

/// A count, then so many numbers of `SIZE` bytes.
fn numbers<T, const SIZE: usize>(bytes: &mut &[u8], read: fn([u8; SIZE]) -> T) -> Option<Vec<T>> {
    let count = number(bytes)?;
    let packed = bytes.split_off(..count.checked_mul(SIZE)?)?;
    Some(
        packed.chunks_exact(SIZE).map(|chunk| read(chunk.try_into().expect("chunks of that size"))).collect(),
    )
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
        let label = |gold, predicted, scores| Answer::Label { gold, predicted, scores };
        let written = |text: &str, values, fields| Answer::Text { text: text.into(), values, fields };
        let predictions: Vec<Prediction> = [
            ("é1", label(3, 0, vec![-1.5, f32::NEG_INFINITY, 1e-40])),
            ("", label(0, 7, vec![])),
            ("t", written("two\nlines, ü", vec![0.1, 1.0], None)),
            ("j", written("{\"a\":1}", vec![0.5], Some([1, 1, 3]))),
            ("e", written("", vec![], None)),
        ]
        .map(|(example, answer)| Prediction { example: example.into(), answer })
        .into();
        assert_eq!(unpack(&pack(&predictions).unwrap()).unwrap(), predictions);
        assert_eq!(unpack(&[]).unwrap(), []);
    }

    #[test]
    fn cut_or_wrong_bytes_are_refused() {
        let label = Answer::Label { gold: 1, predicted: 1, scores: vec![0.5] };
        let written = Answer::Text { text: "c".into(), values: vec![0.5], fields: Some([0, 1, 1]) };
        for answer in [label, written] {
            let whole = pack(&[Prediction { example: "ab".into(), answer }]).unwrap();
            for length in 1..whole.len() {
                assert_eq!(unpack(&whole[..length]), None, "{length} bytes");
            }
        }
        assert_eq!(unpack(&[0xff; 12]), None, "a length beyond the end");
    }
}
