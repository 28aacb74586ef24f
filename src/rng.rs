//! Reproducible random numbers: the same seed gives the same draws on every machine.

/// SplitMix64 (Steele, Lea and Flood, 2014): a counter and a mixing function, so any number of
/// independent streams can be made from seeds.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A stream of its own for every list of numbers, such as (seed, iteration, image): a worker
    /// thread then draws the same whatever the others do, and a resumed run goes on exactly.
    pub fn new(seeds: &[u64]) -> Self {
        let mix = |state: u64, seed: &u64| Rng(state ^ seed).draw();
        Rng(seeds.iter().fold(0, mix))
    }

    /// The plain SplitMix64 stream of a seed.
    pub fn plain(seed: u64) -> Self {
        Rng(seed)
    }

    /// 64 random bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `low .. high`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        // 53 bits fill a double's mantissa.
        let unit = (self.draw() >> 11) as f64 / (1u64 << 53) as f64;
        low + (high - low) * unit
    }

    /// Uniform in `0 .. bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The high half of the product: a bias of bound / 2^64.
        ((u128::from(self.draw()) * bound as u128) >> 64) as usize
    }

    /// True with probability one half.
    pub fn coin(&mut self) -> bool {
        self.draw() >> 63 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    /// The first numbers of seed 1234567, from the reference implementation (splitmix64.c, as
    /// Rosetta Code lists them).
    #[test]
    fn the_plain_stream_is_splitmix64() {
        let mut rng = Rng::plain(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| rng.draw()).collect();
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }
}
