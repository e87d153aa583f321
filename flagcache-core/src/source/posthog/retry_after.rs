//! Parses the `Retry-After` header.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// The longest delay that is honoured. A longer one is a mistake of the server or a proxy, and would stop updates for
/// days.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long the server asks us to wait: seconds or a date, at most an hour. `None` if absent or invalid.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // All digits, but too large for the type.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let until = httpdate::parse_http_date(value).ok()?;
        // Relative to the server's clock if the answer has a `Date`, so that a wrong local clock does not matter.
        let now = date(headers, DATE).unwrap_or_else(SystemTime::now);
        until.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(LONGEST))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::HeaderValue;

    use super::*;

    fn of(value: &'static str) -> Option<Duration> {
        retry_after(&HeaderMap::from_iter([(
            RETRY_AFTER,
            HeaderValue::from_static(value),
        )]))
    }

    #[test]
    fn b2_30_seconds() {
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("0"), Some(Duration::ZERO));
    }

    #[test]
    fn b2_30_a_wait_is_at_most_an_hour() {
        assert_eq!(of("3601"), Some(LONGEST));
        assert_eq!(of("99999999999999999999999999"), Some(LONGEST));
        assert_eq!(of("Fri, 31 Dec 9999 23:59:59 GMT"), Some(LONGEST));
    }

    #[test]
    fn b2_30_dates_are_counted_by_the_servers_clock() {
        let headers = HeaderMap::from_iter([
            (
                RETRY_AFTER,
                HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"),
            ),
            (
                DATE,
                HeaderValue::from_static("Sun, 06 Nov 1994 08:48:07 GMT"),
            ),
        ]);
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(90)));
    }

    #[test]
    fn b2_30_dates_without_a_clock_are_counted_by_ours() {
        let value = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(120));
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::try_from(value).unwrap())]);
        let wait = retry_after(&headers).unwrap();
        assert!(
            (Duration::from_secs(115)..=Duration::from_secs(120)).contains(&wait),
            "{wait:?}"
        );
        assert_eq!(
            of("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::ZERO),
            "a date in the past"
        );
    }

    #[test]
    fn b2_30_an_invalid_retry_after_is_ignored() {
        for value in ["", "soon", "-1", "1.5", "1 s"] {
            assert_eq!(of(value), None, "{value:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
