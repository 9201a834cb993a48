//! Days of the calendar, as prices and shutdowns are dated.

use std::time::{SystemTime, UNIX_EPOCH};

/// Mean days of a month: 365.25 / 12.
pub const DAYS_PER_MONTH: f64 = 30.4375;

/// Days from 1970-01-01 to a day such as `2027-01-14`; `None` where the text is no day of the calendar.
///
/// The formula for the civil (proleptic Gregorian) calendar is Howard Hinnant's ("chrono-compatible low-level date
/// algorithms", 2013).
pub fn days(day: &str) -> Option<i64> {
    let mut parts = day.split('-');
    let (year, month, date) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || (year.len(), month.len(), date.len()) != (4, 2, 2) {
        return None;
    }
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i64>().ok())?;
    let (year, month, date) = (number(year)?, number(month)?, number(date)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    (1..=last).contains(&date).then(|| from_civil(year, month, date))
}

/// Months from the day `from` to the day `to`, negative where it lies before; `None` where either is no day.
pub fn months_between(from: &str, to: &str) -> Option<f64> {
    Some((days(to)? - days(from)?) as f64 / DAYS_PER_MONTH)
}

/// Today in UTC: `2026-11-24`.
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    to_civil((seconds / 86_400) as i64)
}

fn from_civil(year: i64, month: i64, date: i64) -> i64 {
    // The year begins in March, so that the leap day is its last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + date - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn to_civil(days: i64) -> String {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        // `date -u -d DAY +%s` over 86,400.
        for (day, expected) in
            [("1970-01-01", 0), ("2000-02-29", 11_016), ("2026-11-24", 20_781), ("2027-01-14", 20_832)]
        {
            assert_eq!(days(day), Some(expected), "{day}");
            assert_eq!(to_civil(expected), day);
        }
        for wrong in
            ["2026-02-29", "2026-13-01", "2026-1-01", "26-01-01", "2026-11-24T", "+026-01-01", "never", ""]
        {
            assert_eq!(days(wrong), None, "{wrong}");
        }
        let months = months_between("2026-11-24", "2027-01-14").expect("are days");
        assert!((months - 51.0 / 30.4375).abs() < 1e-12);
        assert!(days(&today()).is_some_and(|today| today > 20_000));
    }
}
