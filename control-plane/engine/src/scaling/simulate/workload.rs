//! Made-up loads: the same for the same seed.

use std::f64::consts::TAU;

const DAY: usize = 1440;

/// What a made-up load is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Day and week, a slow rise, hours at which it goes up within minutes, bursts that nobody foresees, noise.
    Seasonal,
    /// White noise around a constant.
    Noise,
}

/// SplitMix64.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 to 1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normal, mean 0 and deviation 1.
    fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform().max(f64::MIN_POSITIVE), self.uniform());
        (-2.0 * u.ln()).sqrt() * (TAU * v).cos()
    }
}

/// From 0 to 1 within some minutes.
fn ramp(minute: f64, at: f64, takes: f64) -> f64 {
    ((minute - at) / takes).clamp(0.0, 1.0)
}

/// What an hour of the day is like, without noise.
fn day_shape(minute: f64) -> f64 {
    let wave = 1.0 - 0.35 * (TAU * (minute - 240.0) / DAY as f64).cos();
    // Offices open, and a sale begins: both at a fixed time and within minutes.
    let office = ramp(minute, 540.0, 3.0) - ramp(minute, 1080.0, 60.0);
    let sale = ramp(minute, 1200.0, 2.0) - ramp(minute, 1230.0, 60.0);
    wave + 1.6 * office + 2.2 * sale
}

/// A load of one value a minute, around 100. `days` from a Monday on.
pub fn workload(shape: Shape, seed: u64, days: usize) -> Vec<f64> {
    let mut random = Seeded(seed);
    let (mut drift, mut burst, mut left) = (0.0, 0.0, 0_u32);
    let minutes = days.min(super::MOST_MINUTES / DAY) * DAY;
    let mut load = Vec::with_capacity(minutes);
    for minute in 0..minutes {
        if shape == Shape::Noise {
            load.push((100.0 * (1.0 + 0.3 * random.normal())).max(0.0));
            continue;
        }
        let day = minute / DAY;
        let week = if day % 7 >= 5 { 0.75 } else { 1.0 };
        let trend = 1.0 + 0.004 * (minute as f64 / DAY as f64);
        drift = 0.98 * drift + 0.004 * random.normal();
        if left == 0 && random.uniform() < 0.5 / DAY as f64 {
            burst = 0.3 + 0.5 * random.uniform();
            left = 5 + (10.0 * random.uniform()) as u32;
        }
        let more = if left > 0 { burst } else { 0.0 };
        left = left.saturating_sub(1);
        let noise = (1.0 + drift + 0.02 * random.normal()).max(0.0);
        load.push(60.0 * day_shape((minute % DAY) as f64) * week * trend * noise * (1.0 + more));
    }
    load
}
