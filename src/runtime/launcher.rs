//! Which of several processes this is, by what the usual launchers put into the environment
//! (spec/distributed.md, Launchers).

use crate::{Error, Result};

/// One of `world` processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rank {
    pub rank: usize,
    pub world: usize,
}

impl Rank {
    /// A process on its own.
    pub const ALONE: Rank = Rank { rank: 0, world: 1 };
}

/// (launcher, rank, number of processes) by environment variables.
const LAUNCHERS: [(&str, &str, &str); 6] = [
    ("torchrun", "RANK", "WORLD_SIZE"),
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MPICH", "PMI_RANK", "PMI_SIZE"),
    ("Slurm", "SLURM_PROCID", "SLURM_NTASKS"),
    // An indexed Job tells its pods their index; the manifest passes `completions` on.
    ("Kubernetes", "JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
    ("Kubernetes", "JOB_COMPLETION_INDEX", "WORLD_SIZE"),
];

impl std::str::FromStr for Rank {
    type Err = String;

    /// `I/N`, I from 0.
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(rank, world)| {
            let (rank, world) = (rank.trim().parse().ok()?, world.trim().parse().ok()?);
            (rank < world).then_some(Rank { rank, world })
        });
        parsed.ok_or_else(|| "use I/N with I from 0 to N-1, like 0/4".into())
    }
}

/// The rank that a launcher gave this process; [`Rank::ALONE`] where there is none.
///
/// # Errors
/// A launcher's variables that are no numbers or do not go together.
pub fn from_environment() -> Result<Rank> {
    of_variables(|name| std::env::var(name).ok())
}

fn of_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Rank> {
    for (launcher, rank_name, world_name) in LAUNCHERS {
        let (Some(rank), Some(world)) = (variable(rank_name), variable(world_name)) else {
            continue;
        };
        return format!("{rank}/{world}").parse().map_err(|_| {
            Error::usage(format!(
                "{launcher}'s variables {rank_name}={rank} and {world_name}={world} are no rank and number of processes; unset them, or say which part this is with --shard I/N"
            ))
        });
    }
    Ok(Rank::ALONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_are_recognised() {
        let of = |set: &[(&str, &str)]| {
            of_variables(|name| {
                let hit = set.iter().find(|(n, _)| *n == name);
                hit.map(|(_, value)| value.to_string())
            })
        };
        let rank = |rank, world| Rank { rank, world };
        assert_eq!(of(&[]).unwrap(), Rank::ALONE);
        assert_eq!(
            of(&[("RANK", "1"), ("WORLD_SIZE", "4")]).unwrap(),
            rank(1, 4)
        );
        let slurm = [("SLURM_PROCID", "2"), ("SLURM_NTASKS", "3")];
        assert_eq!(of(&slurm).unwrap(), rank(2, 3));
        let pod = [("JOB_COMPLETION_INDEX", "0"), ("JOB_COMPLETIONS", "8")];
        assert_eq!(of(&pod).unwrap(), rank(0, 8));
        let told = of(&[("PMI_RANK", "3"), ("PMI_SIZE", "3")]).unwrap_err();
        assert!(told.to_string().contains("PMI_RANK=3"), "{told}");
    }
}
