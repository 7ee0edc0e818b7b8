//! How large each block is, and how many are on their way at once.

/// Azure's most in one blob.
const MOST: usize = 50_000;
/// Blocks of one size.
const STEP: usize = 10_000;
/// Azure's largest block.
const LARGEST: usize = 4000 << 20;
const DEFAULT: usize = 4 << 20;
/// On their way at once, besides the block that is being filled.
const IN_FLIGHT: usize = 16 << 20;

/// Sizes that double after each [`STEP`], so that small objects take little memory and a blob of the default size
/// holds more than a TiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    first: usize,
}

impl Plan {
    /// With first blocks of `blockSizeInBytes`, if that is set.
    pub(super) fn new(first: Option<usize>) -> Self {
        let first = first.unwrap_or(DEFAULT).clamp(1, LARGEST);
        Self { first }
    }

    /// Of the block with that number; none beyond the last.
    pub(super) fn size(self, block: usize) -> Option<usize> {
        (block < MOST).then(|| self.of_step(block / STEP))
    }

    /// Blocks of `size` that are sent at once.
    pub(super) fn in_flight(size: usize) -> usize {
        (IN_FLIGHT / size).clamp(1, 16)
    }

    /// All that goes into a blob.
    pub(super) fn limit(self) -> u64 {
        let steps = (0..MOST / STEP).map(|step| self.of_step(step) as u64);
        steps.sum::<u64>() * STEP as u64
    }

    fn of_step(self, step: usize) -> usize {
        self.first.saturating_mul(1 << step).min(LARGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn size_doubles_after_each_step() {
        let plan = Plan::new(None);
        for (block, size) in [
            (0, Some(4 * MIB)),
            (9_999, Some(4 * MIB)),
            (10_000, Some(8 * MIB)),
            (20_000, Some(16 * MIB)),
            (40_000, Some(64 * MIB)),
            (49_999, Some(64 * MIB)),
            (50_000, None),
        ] {
            assert_eq!(plan.size(block), size, "block {block}");
        }
    }

    #[test]
    fn size_never_exceeds_what_azure_takes() {
        let plan = Plan::new(Some(3000 * MIB));
        assert_eq!(plan.size(0), Some(3000 * MIB));
        assert_eq!(plan.size(49_999), Some(4000 * MIB));
        assert_eq!(Plan::new(Some(usize::MAX)).size(0), Some(4000 * MIB));
    }

    #[test]
    fn limit_is_the_sum_of_all_blocks() {
        for first in [None, Some(1), Some(MIB), Some(3000 * MIB)] {
            let plan = Plan::new(first);
            let sum: u64 = (0..)
                .map_while(|block| plan.size(block))
                .map(|size| size as u64)
                .sum();
            assert_eq!(plan.limit(), sum, "{first:?}");
        }
        assert!(Plan::new(None).limit() > 1 << 40);
    }

    #[test]
    fn memory_in_flight_is_bounded_and_never_nothing() {
        for (size, blocks) in [
            (1, 16),
            (MIB, 16),
            (4 * MIB, 4),
            (5 * MIB, 3),
            (16 * MIB, 1),
            (64 * MIB, 1),
        ] {
            assert_eq!(Plan::in_flight(size), blocks, "{size}");
        }
    }
}
