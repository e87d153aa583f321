//! [`DateFilter`] and [`parse`]: dates in conditions and properties, with the semantics of PostHog's Python SDK.
//!
//! posthog-rs counts 30 days per month and 365 per year, while the other SDKs use calendar months and years, and it
//! panics on some strings.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, TimeDelta, Utc};

/// The date of a condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DateFilter {
    At(DateTime<Utc>),
    Ago(u32, Unit),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unit {
    Hours,
    Days,
    Weeks,
    Months,
    Years,
}

impl DateFilter {
    /// `None` for unsupported formats, which other SDKs may support.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        relative(text).or_else(|| parse(text).map(Self::At))
    }

    /// The point in time, with relative dates counted from now; `None` if it does not exist.
    pub(crate) fn moment(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::At(moment) => Some(*moment),
            Self::Ago(number, unit) => subtract(Utc::now(), *number, *unit),
        }
    }
}

/// Parses a relative date such as `-7d` or `7d`.
fn relative(text: &str) -> Option<DateFilter> {
    let text = text.strip_prefix('-').unwrap_or(text);
    let unit = match text.as_bytes().last()? {
        b'h' => Unit::Hours,
        b'd' => Unit::Days,
        b'w' => Unit::Weeks,
        b'm' => Unit::Months,
        b'y' => Unit::Years,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    let number = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())??;
    (number < 10_000).then_some(DateFilter::Ago(number, unit))
}

fn subtract(now: DateTime<Utc>, number: u32, unit: Unit) -> Option<DateTime<Utc>> {
    match unit {
        Unit::Hours => now.checked_sub_signed(TimeDelta::hours(i64::from(number))),
        Unit::Days => now.checked_sub_days(Days::new(u64::from(number))),
        Unit::Weeks => now.checked_sub_days(Days::new(u64::from(number) * 7)),
        Unit::Months => months_before(now, number),
        // 29 February becomes 28 February, even in another leap year.
        Unit::Years if number > 0 && (now.month(), now.day()) == (2, 29) => {
            years_before(now.with_day(28)?, number)
        }
        Unit::Years => years_before(now, number),
    }
    .filter(|moment| moment.year() >= 1)
}

fn years_before(now: DateTime<Utc>, years: u32) -> Option<DateTime<Utc>> {
    now.checked_sub_months(Months::new(years * 12))
}

/// Subtracts month by month: two months before 31 March is 28 January, via 28 February.
fn months_before(mut now: DateTime<Utc>, mut months: u32) -> Option<DateTime<Utc>> {
    while months > 0 && now.day() > 28 {
        now = now.checked_sub_months(Months::new(1))?;
        months -= 1;
    }
    now.checked_sub_months(Months::new(months))
}

/// Parses a date such as `2024-06-15`, optionally with a time, optionally with an offset. The SDKs differ in which
/// other formats they support.
pub(crate) fn parse(text: &str) -> Option<DateTime<Utc>> {
    // Check the shape first, because chrono accepts more formats than the other SDKs.
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let (date, rest) = (text.get(..10)?, shape.get(10..)?);
    if !shape.starts_with("0000-00-00") || date.starts_with("0000") {
        return None;
    }
    if rest.is_empty() {
        return Some(
            NaiveDate::parse_from_str(date, "%Y-%m-%d")
                .ok()?
                .and_hms_opt(0, 0, 0)?
                .and_utc(),
        );
    }
    let time = rest.strip_prefix('T')?.strip_prefix("00:00:00")?;
    // chrono accepts 60 as a leap second; the other SDKs reject it.
    if text.get(17..19)? >= "60" {
        return None;
    }
    let fraction = [".000000", ".000"]
        .into_iter()
        .find(|fraction| time.starts_with(fraction))
        .unwrap_or_default();
    match time.strip_prefix(fraction)? {
        "" => Some(
            NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
                .ok()?
                .and_utc(),
        ),
        "Z" | "+00:00" | "-00:00" => {
            Some(DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_formats_common_to_all_sdks_are_parsed() {
        for text in [
            "2024-06-15",
            "2024-06-15T10:30:00",
            "2024-06-15T10:30:00Z",
            "2024-06-15T10:30:00.125+02:00",
        ] {
            assert!(parse(text).is_some(), "{text}");
        }
        let unsupported = [
            "",
            "2024",
            "soon",
            "-7d",
            "-1é",
            "2024-02-30",
            "0000-01-01",
            "2024-06-15 10:30:00",
            "20240615",
        ];
        for text in unsupported.into_iter().chain([
            "2024-06-15T10:30:60Z",
            "2024-06-15T10:30",
            "2024-06-15t10:30:00z",
        ]) {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(
            DateFilter::parse("-7d"),
            Some(DateFilter::Ago(7, Unit::Days))
        );
        assert_eq!(
            DateFilter::parse("12m"),
            Some(DateFilter::Ago(12, Unit::Months))
        );
        for text in ["-10000d", "-1é", "-d", "--1d", "-+1d", "1x"] {
            assert_eq!(DateFilter::parse(text), None, "{text}");
        }
    }

    #[test]
    fn months_and_years_are_calendar_units() {
        let at = |text: &str| parse(text).unwrap();
        for (now, number, unit, then) in [
            ("2023-03-31", 1, Unit::Months, "2023-02-28"),
            ("2023-03-31", 2, Unit::Months, "2023-01-28"),
            ("2024-03-31", 13, Unit::Months, "2023-02-28"),
            ("2024-02-29", 1, Unit::Years, "2023-02-28"),
            ("2024-02-29", 4, Unit::Years, "2020-02-28"),
            ("2024-02-29", 0, Unit::Years, "2024-02-29"),
            ("2024-06-15", 3, Unit::Weeks, "2024-05-25"),
        ] {
            assert_eq!(
                subtract(at(now), number, unit),
                Some(at(then)),
                "{number} {unit:?} before {now}"
            );
        }
        assert_eq!(subtract(at("2024-06-15"), 9999, Unit::Years), None);
    }
}
