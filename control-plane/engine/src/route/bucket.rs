//! Which requests belong to a share: by a keyed hash for callers that are known, by the golden ratio for those that are not.

/// Everything, in basis points.
pub const WHOLE: u32 = 10_000;

/// A caller's bucket, in `0..10_000`. It depends on nothing but key and salt, so a higher weight moves callers only
/// in, and a lower one only out.
pub fn bucket(key: &[u8], salt: u64) -> u32 {
    (siphash((salt, 0), key) % u64::from(WHOLE)) as u32
}

/// The point of the unit interval, in 2^-64, at which the `seq`th request falls. Any run of requests is spread near
/// evenly, however short it is.
pub fn point(seq: u64) -> u64 {
    // 2^64 divided by the golden ratio, made odd.
    seq.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Where weights divide the unit interval, which part a point is in, and where in that part (again in 2^-64).
/// `None` if the weights' sum is 0.
pub fn part(point: u64, weights: impl IntoIterator<Item = u32> + Clone) -> Option<(usize, u64)> {
    let total: u128 = weights.clone().into_iter().map(u128::from).sum();
    let mut at = u128::from(point) * total;
    for (i, weight) in weights.into_iter().enumerate() {
        let width = u128::from(weight) << 64;
        if at < width {
            return Some((i, (at / u128::from(weight)) as u64));
        }
        at -= width;
    }
    None
}

/// Whether a point is in the first `weight` basis points, with the interval turned by the salt.
pub fn is_in(point: u64, salt: u64, weight: u32) -> bool {
    let turned = point.wrapping_add(siphash((salt, 1), &[]));
    (u128::from(turned) * u128::from(WHOLE)) >> 64 < u128::from(weight)
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012). The standard library's may change from release to release; a caller's
/// bucket must not.
fn siphash(key: (u64, u64), bytes: &[u8]) -> u64 {
    let mut v = [
        key.0 ^ 0x736f_6d65_7073_6575,
        key.1 ^ 0x646f_7261_6e64_6f6d,
        key.0 ^ 0x6c79_6765_6e65_7261,
        key.1 ^ 0x7465_6462_7974_6573,
    ];
    let mut absorb = |word: u64| {
        v[3] ^= word;
        round(&mut v);
        round(&mut v);
        v[0] ^= word;
    };
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        absorb(u64::from_le_bytes(*word));
    }
    let mut last = [0_u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = bytes.len() as u8;
    absorb(u64::from_le_bytes(last));
    v[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siphash_is_that_of_the_paper() {
        let key = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let bytes: Vec<u8> = (0..15).collect();
        assert_eq!(siphash(key, &[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(siphash(key, &[0]), 0x74f8_39c5_93dc_67fd);
        assert_eq!(siphash(key, &bytes), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn buckets_are_uniform_for_keys_that_look_alike() {
        // Expected shares within three standard deviations, for several salts and borders.
        let n = 100_000_u32;
        for salt in [0, 1, u64::MAX] {
            let buckets: Vec<u32> = (0..n).map(|i| bucket(format!("10.0.0.{i}").as_bytes(), salt)).collect();
            for weight in [1, 100, 500, 5_000, 9_900] {
                let share = f64::from(weight) / 10_000.0;
                let found = buckets.iter().filter(|b| **b < weight).count() as f64;
                let sigma = (f64::from(n) * share * (1.0 - share)).sqrt();
                assert!((found - f64::from(n) * share).abs() <= 3.0 * sigma.max(1.0), "{salt} {weight} {found}");
            }
        }
    }

    #[test]
    fn other_salts_choose_other_callers() {
        let both = (0..10_000_u32)
            .filter(|i| bucket(&i.to_le_bytes(), 1) < 1_000 && bucket(&i.to_le_bytes(), 2) < 1_000)
            .count();
        // A hundredth of them, not a tenth.
        assert!((60..140).contains(&both), "{both}");
    }

    #[test]
    fn few_requests_are_divided_well() {
        for salt in 0..50 {
            for start in [0, 7, 1 << 40, u64::MAX - 10] {
                let hits = (0..20).filter(|i| is_in(point(u64::wrapping_add(start, *i)), salt, 2_500)).count();
                assert!((4..=6).contains(&hits), "{salt} {start} {hits}");
            }
        }
    }

    #[test]
    fn nothing_and_everything_are_exact() {
        for seq in 0..100_000 {
            assert!(!is_in(point(seq), seq % 7, 0) && is_in(point(seq), seq % 7, WHOLE));
        }
    }

    #[test]
    fn parts_follow_the_weights() {
        assert_eq!(part(0, [0, 0]), None);
        assert_eq!(part(u64::MAX, [0, 1, 0]).map(|p| p.0), Some(1));
        let mut count = [0; 3];
        for seq in 0..1000 {
            count[part(point(seq), [9_000, 1_000, 0]).unwrap().0] += 1;
        }
        assert!((898..=902).contains(&count[0]) && count[2] == 0, "{count:?}");
    }
}
