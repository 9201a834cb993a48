//! Dates for `strftime_now`, in English and UTC.

use std::fmt::Write;
use std::time::Duration;

use minijinja::{Error, ErrorKind};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// A day of the Gregorian calendar and a time of day.
struct Moment {
    year: u64,
    month: usize,
    day: u64,
    day_of_year: u64,
    weekday: usize,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Moment {
    /// The moment `since_1970`.
    fn new(since_1970: Duration) -> Self {
        let seconds = since_1970.as_secs();
        // Day 0 is a Thursday. Years are counted one by one: few, and the rule of leap years stays readable.
        let days = (seconds / 86_400).min(3_000_000);
        let mut year = 1970;
        let mut rest = days;
        while rest >= days_of_year(year) {
            rest -= days_of_year(year);
            year += 1;
        }
        let day_of_year = rest;
        let mut month = 0;
        while rest >= days_of_month(year, month) {
            rest -= days_of_month(year, month);
            month += 1;
        }
        Self {
            year,
            month,
            day: rest + 1,
            day_of_year: day_of_year + 1,
            weekday: (days % 7) as usize,
            hour: seconds / 3600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

/// Days of a month, counted from 0.
fn days_of_month(year: u64, month: usize) -> u64 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

/// The moment in the format of C's `strftime`: the directives that dates in prompts use.
pub(super) fn format(format: &str, since_1970: Duration) -> Result<String, Error> {
    let moment = Moment::new(since_1970);
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let directive = characters.next();
        let (padded, directive) = match directive {
            Some('-') => (false, characters.next()),
            other => (true, other),
        };
        let width = if padded { 2 } else { 1 };
        let written = match directive {
            Some('Y') => write!(text, "{}", moment.year),
            Some('y') => write!(text, "{:02}", moment.year % 100),
            Some('m') => write!(text, "{:0width$}", moment.month + 1),
            Some('d') => write!(text, "{:0width$}", moment.day),
            Some('e') => write!(text, "{:2}", moment.day),
            Some('B') => write!(text, "{}", MONTHS[moment.month]),
            Some('b' | 'h') => write!(text, "{}", &MONTHS[moment.month][..3]),
            Some('A') => write!(text, "{}", DAYS[moment.weekday]),
            Some('a') => write!(text, "{}", &DAYS[moment.weekday][..3]),
            Some('j') => write!(text, "{:03}", moment.day_of_year),
            Some('H') => write!(text, "{:0width$}", moment.hour),
            Some('I') => write!(text, "{:0width$}", (moment.hour + 11) % 12 + 1),
            Some('p') => write!(text, "{}", if moment.hour < 12 { "AM" } else { "PM" }),
            Some('M') => write!(text, "{:0width$}", moment.minute),
            Some('S') => write!(text, "{:0width$}", moment.second),
            Some('F') => write!(text, "{}-{:02}-{:02}", moment.year, moment.month + 1, moment.day),
            Some('T') => write!(text, "{:02}:{:02}:{:02}", moment.hour, moment.minute, moment.second),
            Some('%') => write!(text, "%"),
            other => {
                let reason = format!("strftime_now: no directive {other:?}");
                return Err(Error::new(ErrorKind::InvalidOperation, reason));
            }
        };
        written.expect("writing to a string cannot fail");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_as_python_does() {
        // datetime.datetime.fromtimestamp(t, datetime.UTC).strftime(f) in Python 3.11.
        let cases = [
            (0, "%d %b %Y %A %j %H:%M:%S", "01 Jan 1970 Thursday 001 00:00:00"),
            (951_782_400, "%Y-%m-%d %a", "2000-02-29 Tue"),
            (1_753_531_199, "%d %B %Y, %I:%M %p", "26 July 2025, 11:59 AM"),
            (1_735_689_599, "%-d/%-m/%y %j %T", "31/12/24 366 23:59:59"),
            (4_107_542_400, "%F %%", "2100-03-01 %"),
        ];
        for (seconds, pattern, expected) in cases {
            assert_eq!(format(pattern, Duration::from_secs(seconds)).unwrap(), expected);
        }
        assert!(format("%Q", Duration::ZERO).is_err());
        assert!(format("%", Duration::ZERO).is_err());
        assert!(format("%Y", Duration::from_secs(u64::MAX)).is_ok());
    }
}
