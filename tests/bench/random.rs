//! Random numbers that a seed determines, on every machine and in every version.
//!
//! SplitMix64 for the bits. Normal steps come from a table of 2¹⁶ quantiles of N(0, 1), so that a
//! step costs sixteen bits and a look-up: a generator that must feed a server on the same machine
//! has no time for logarithms.

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // A seed is mixed before it becomes a state: neighbouring seeds give streams far apart.
        Self { state: mix(seed) }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        mix(self.state)
    }

    /// A number below `bound`, each as likely as the others.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn choose<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// Different numbers below `bound`, in random order.
    pub(crate) fn distinct_below(&mut self, count: usize, bound: u64) -> Vec<u64> {
        assert!(count as u64 <= bound, "{count} different numbers below {bound}");
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count {
            let number = self.below(bound);
            if !chosen.contains(&number) {
                chosen.push(number);
            }
        }
        chosen
    }
}

fn mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The quantiles of N(0, 1) in the middle of each of 2¹⁶ equal shares.
pub(crate) fn normal_quantiles() -> Box<[f32; 1 << 16]> {
    let mut quantiles = Box::new([0.0; 1 << 16]);
    for at in 0..1 << 15 {
        let quantile = normal_quantile((at as f64 + 0.5) / (1 << 16) as f64) as f32;
        quantiles[at] = quantile;
        quantiles[(1 << 16) - 1 - at] = -quantile;
    }
    quantiles
}

/// The quantile of N(0, 1) at `share`, in `0.0..=0.5`, by Acklam's approximation (1.15e-9 relative).
fn normal_quantile(share: f64) -> f64 {
    const TAIL_BELOW: f64 = 0.02425;
    if share < TAIL_BELOW {
        let q = (-2.0 * share.ln()).sqrt();
        let numerator = polynomial(
            &[
                -7.784_894_002_430_293e-3,
                -0.322_396_458_041_136_5,
                -2.400_758_277_161_838,
                -2.549_732_539_343_734,
                4.374_664_141_464_968,
                2.938_163_982_698_783,
            ],
            q,
        );
        let denominator = polynomial(
            &[
                7.784_695_709_041_462e-3,
                0.322_467_129_070_039_8,
                2.445_134_137_142_996,
                3.754_408_661_907_416,
                1.0,
            ],
            q,
        );
        return numerator / denominator;
    }
    let q = share - 0.5;
    let r = q * q;
    let numerator = polynomial(
        &[
            -39.696_830_286_653_76,
            220.946_098_424_520_5,
            -275.928_510_446_968_7,
            138.357_751_867_269,
            -30.664_798_066_147_16,
            2.506_628_277_459_239,
        ],
        r,
    );
    let denominator = polynomial(
        &[
            -54.476_098_798_224_06,
            161.585_836_858_040_9,
            -155.698_979_859_886_6,
            66.801_311_887_719_72,
            -13.280_681_552_885_72,
            1.0,
        ],
        r,
    );
    numerator * q / denominator
}

/// The value at `x` of the polynomial with these coefficients, the highest power's first.
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_standard_normal() {
        let quantiles = normal_quantiles();
        let count = quantiles.len() as f64;
        let mean = quantiles.iter().map(|z| f64::from(*z)).sum::<f64>() / count;
        let variance = quantiles.iter().map(|z| f64::from(*z).powi(2)).sum::<f64>() / count;
        assert!(mean.abs() < 1e-6, "mean {mean}");
        assert!((variance - 1.0).abs() < 1e-3, "variance {variance}");
        assert!(quantiles.is_sorted());
        // Known points of the distribution, one in the middle and one in the tail.
        for (share, expected) in [(0.158_655_253_931_457, -1.0), (0.001_349_898_031_630_1, -3.0)] {
            let z = f64::from(quantiles[(share * count) as usize]);
            assert!((z - expected).abs() < 5e-3, "{z} at {share}");
        }
    }

    #[test]
    fn a_seed_determines_the_numbers() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            [random.next(), random.next(), random.below(10)]
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
    }

    #[test]
    fn distinct_numbers_differ() {
        let mut chosen = Random::new(7).distinct_below(8, 8);
        chosen.sort_unstable();
        assert_eq!(chosen, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
