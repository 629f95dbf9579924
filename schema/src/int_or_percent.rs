//! `3` or `25%`. Who uses one says how it rounds.

/// Pattern of the string form.
pub const PATTERN: &str = "^(0|[1-9][0-9]{0,5}|(0|[1-9][0-9]?|100)%)$";

/// Value for `total`, a percentage rounded up or down; `None` when `s` does not fit [`PATTERN`].
pub fn of(s: &str, total: u64, round_up: bool) -> Option<u64> {
    if let Some(percent) = s.strip_suffix('%') {
        let p: u64 = percent.parse().ok().filter(|p| *p <= 100)?;
        let product = p * total;
        return Some(if round_up { product.div_ceil(100) } else { product / 100 });
    }
    s.parse().ok()
}
