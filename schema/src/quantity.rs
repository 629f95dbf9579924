//! Kubernetes quantity strings. Equal when they denote the same amount: `500m` = `0.5`, `1024Mi` = `1Gi`.

/// Amount in thousandths, or `None` when `s` is no quantity, is negative, or is finer than 1m.
pub fn millis(s: &str) -> Option<u128> {
    let split = s.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(s.len());
    let (number, suffix) = s.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 18 || fraction.len() > 9 {
        return None;
    }
    let scale: u128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return None,
    };
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let total = digits.checked_mul(scale)?;
    let divisor = 10u128.pow(fraction.len() as u32);
    (total % divisor == 0).then(|| total / divisor)
}

/// CPU in millicores.
pub fn cpu_millis(s: &str) -> Option<u64> {
    millis(s)?.try_into().ok()
}

/// Bytes; `None` also when the amount is not whole.
pub fn bytes(s: &str) -> Option<u64> {
    let m = millis(s)?;
    (m % 1000 == 0).then_some(())?;
    (m / 1000).try_into().ok()
}

/// One spelling for equal amounts.
pub fn canonical(s: &str) -> String {
    match millis(s) {
        Some(m) if m % 1000 == 0 => (m / 1000).to_string(),
        Some(m) => format!("{m}m"),
        None => s.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_amounts_have_one_spelling() {
        for (a, b) in [("500m", "0.5"), ("1024Mi", "1Gi"), ("1", "1000m"), ("1.5Gi", "1536Mi"), ("2k", "2000")] {
            assert_eq!(canonical(a), canonical(b), "{a} {b}");
        }
        for bad in ["", "abc", "-1", "1.2.3", "1Q", "m", ".", "0.0001", "1e3", "99999999999999999999"] {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn canonical_is_idempotent_and_never_panics(s in "\\PC{0,24}") {
            prop_assert_eq!(canonical(&canonical(&s)), canonical(&s));
        }
        #[test]
        fn millicores_round_trip(m in 0u64..1_000_000_000) {
            prop_assert_eq!(cpu_millis(&format!("{m}m")), Some(m));
        }
    }
}
