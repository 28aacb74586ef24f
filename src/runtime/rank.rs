//! Which of the processes that share a run this one is.

/// A process among those of a run: on all machines, and on its own one. Without a launcher there
/// is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rank {
    /// 0..world; 0 writes what is written once.
    pub rank: usize,
    /// Processes in all.
    pub world: usize,
    /// 0..local_world: which device of its machine a process takes.
    pub local_rank: usize,
    /// Processes on this machine, which share its cores.
    pub local_world: usize,
}

impl Rank {
    /// The only process.
    pub const SINGLE: Rank = Rank {
        rank: 0,
        world: 1,
        local_rank: 0,
        local_world: 1,
    };

    /// This process's share of `cores`, at least one: two processes with all cores each run tens
    /// of times slower than with half of them (spec/distributed.md).
    pub fn cores(&self, cores: usize) -> usize {
        (cores / self.local_world.max(1)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::Rank;

    #[test]
    fn processes_of_a_machine_share_its_cores() {
        let rank = |local_world| Rank {
            local_world,
            ..Rank::SINGLE
        };
        assert_eq!(rank(1).cores(10), 10);
        assert_eq!(rank(4).cores(10), 2);
        assert_eq!(rank(16).cores(10), 1);
    }
}
