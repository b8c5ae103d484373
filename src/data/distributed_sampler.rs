//! DistributedSampler (monai.data.samplers, MONAI 1.6.1; torch.utils.data.distributed, torch 2.11): this rank's cases.

use crate::bail;
use crate::component::{BuildContext, Value};
use crate::contracts::{Dataset, Sampler, SamplerHandle};
use crate::distributed;
use crate::error::Result;
use std::sync::Arc;

component! {
    /// Shares the cases of a dataset among the ranks of a run.
    pub static COMPONENT = value "DistributedSampler" in "monai.data" / "samplers";

    pub struct DistributedSamplerArgs {
        /// Dataset whose cases are shared.
        dataset: Arc<dyn Dataset>,
        /// Give all ranks the same number of cases, by repeating the first ones; needed in a training. Evaluation never
        /// repeats a case.
        even_divisible: bool = true,
        /// Number of ranks; None is that of the process group.
        num_replicas: Option<usize> = (),
        /// Number of this rank; None is that in the process group.
        rank: Option<usize> = (),
        /// Shuffle the cases of a training in every epoch. Evaluation keeps their order, with the same metrics.
        #[no_effect_on_results]
        shuffle: bool = true,
        /// Seed of the shuffling; the epoch is added to it.
        seed: i64 = 0,
        /// Leave out the last cases instead of repeating the first ones.
        drop_last: bool = false,
    }

    differs: [
        "there may be fewer cases than ranks",
        "evaluation never repeats a case",
    ],
    build in context: sampler,
}

fn sampler(args: DistributedSamplerArgs, context: &mut BuildContext) -> Result<Value> {
    let joined = context.is_dry_run() || distributed::is_initialized();
    if !joined && (args.rank.is_none() || args.num_replicas.is_none()) {
        return Err(distributed::uninitialized());
    }
    let replicas = args.num_replicas.unwrap_or_else(distributed::world_size);
    let rank = args.rank.unwrap_or_else(distributed::rank);
    if rank >= replicas {
        bail!("expected a rank below num_replicas, found rank {rank} and num_replicas {replicas}");
    }
    let cases = args.dataset.len();
    Ok(Value::object(SamplerHandle(Arc::new(DistributedSampler { args, cases, replicas, rank }))))
}

struct DistributedSampler {
    args: DistributedSamplerArgs,
    cases: usize,
    replicas: usize,
    rank: usize,
}

impl DistributedSampler {
    /// Number of cases of all ranks, with those that are repeated.
    fn total(&self) -> usize {
        let even = match self.args.drop_last {
            true => self.cases / self.replicas * self.replicas,
            false => self.cases.div_ceil(self.replicas) * self.replicas,
        };
        if self.args.even_divisible { even } else { even.min(self.cases) }
    }
    fn own<T>(&self, all: impl Iterator<Item = T>) -> Vec<T> {
        all.skip(self.rank).step_by(self.replicas).collect()
    }
}

impl Sampler for DistributedSampler {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn len(&self) -> usize {
        self.total().saturating_sub(self.rank).div_ceil(self.replicas)
    }
    fn order_seed(&self, epoch: usize) -> Option<u64> {
        self.args.shuffle.then(|| self.args.seed.wrapping_add(epoch as i64) as u64)
    }
    fn order(&self, seed: Option<u64>) -> Result<Vec<usize>> {
        let all = match seed {
            Some(seed) => segbundle_native::permutation(self.cases, seed)?,
            None => (0..self.cases).collect(),
        };
        Ok(self.own(all.iter().copied().cycle().take(if all.is_empty() { 0 } else { self.total() })))
    }
    fn share(&self) -> Vec<usize> {
        self.own(0..self.total().min(self.cases))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(cases: usize, replicas: usize, even_divisible: bool, drop_last: bool) -> Vec<Vec<usize>> {
        let empty = || -> Arc<dyn Dataset> { Arc::new(Nothing) };
        let sampler = |rank| {
            let args = DistributedSamplerArgs {
                dataset: empty(),
                even_divisible,
                num_replicas: None,
                rank: None,
                shuffle: false,
                seed: 0,
                drop_last,
            };
            let sampler = DistributedSampler { args, cases, replicas, rank };
            let order = sampler.order(None).unwrap();
            assert_eq!(order.len(), sampler.len());
            order
        };
        (0..replicas).map(sampler).collect()
    }

    struct Nothing;
    impl Dataset for Nothing {
        fn name(&self) -> &'static str {
            "Nothing"
        }
        fn len(&self) -> usize {
            0
        }
        fn entry(&self, _: usize) -> Result<Value> {
            bail!("no entry")
        }
        fn sample(&self, _: usize) -> Result<crate::contracts::Sample> {
            bail!("no sample")
        }
        fn get(&self, _: usize, _: &mut crate::contracts::TransformContext) -> Result<Vec<crate::contracts::Sample>> {
            bail!("no case")
        }
    }

    /// `[list(DistributedSampler(range(n), even_divisible=…, num_replicas=3, rank=r, shuffle=False, drop_last=…)) for r in
    /// range(3)]` of MONAI 1.6.1, which refuses two cases for three ranks unless they are repeated.
    #[test]
    fn cases_are_shared_as_monai_shares_them() {
        assert_eq!(orders(7, 3, true, false), [[0, 3, 6], [1, 4, 0], [2, 5, 1]]);
        assert_eq!(orders(7, 3, false, false), [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
        assert_eq!(orders(8, 3, false, false), [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]);
        assert_eq!(orders(7, 3, true, true), [[0, 3], [1, 4], [2, 5]]);
        assert_eq!(orders(1, 3, true, false), [[0], [0], [0]]);
        assert_eq!(orders(2, 3, false, false), [vec![0], vec![1], vec![]]);
        assert_eq!(orders(0, 3, true, false), [vec![], vec![], Vec::<usize>::new()]);
    }
}
