//! What a process's threads have cost: unlike a rate, that hardly depends on what else the machine does.

use std::{collections::BTreeMap, fs, time::Duration};

/// The processor time of a process's threads by their names; threads of one name count together.
#[derive(Clone, Debug, Default)]
pub struct CpuTimes(BTreeMap<String, Duration>);

impl CpuTimes {
    /// What the threads of process `id` have used up to now.
    pub fn of(id: u32) -> Self {
        let mut times = BTreeMap::new();
        // A thread may end while its files are read: then it is left out.
        for task in fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten() {
            let read = |name: &str| fs::read_to_string(task.path().join(name)).ok();
            // See the kernel's Documentation/scheduler/sched-stats.rst: the first number is nanoseconds on a processor.
            if let (Some(name), Some(stat)) = (read("comm"), read("schedstat"))
                && let Some(Ok(nanos)) = stat.split_whitespace().next().map(str::parse)
            {
                *times.entry(name.trim().to_owned()).or_default() += Duration::from_nanos(nanos);
            }
        }
        Self(times)
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let used = |(name, time): (&String, &Duration)| {
            let earlier = before.0.get(name).copied().unwrap_or_default();
            (name.clone(), time.saturating_sub(earlier))
        };
        Self(self.0.iter().map(used).collect())
    }

    /// Adds what others have used.
    pub fn add(&mut self, other: &Self) {
        for (name, time) in &other.0 {
            *self.0.entry(name.clone()).or_default() += *time;
        }
    }

    /// All threads together.
    pub fn total(&self) -> Duration {
        self.0.values().sum()
    }

    /// Microseconds a call, for each thread that matters: `leaseholdd 20.1, ledger-journal 8.3`.
    pub fn per_call(&self, calls: u64) -> String {
        let each =
            |(name, time): (&String, &Duration)| (time.as_secs_f64() * 1e6 / calls as f64, name.clone());
        let mut each: Vec<_> = self.0.iter().map(each).filter(|(micros, _)| *micros >= 0.05).collect();
        each.sort_by(|one, other| other.0.total_cmp(&one.0));
        each.iter().map(|(micros, name)| format!("{name} {micros:.1}")).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_some_time() {
        let before = CpuTimes::of(std::process::id());
        let spent = CpuTimes::of(std::process::id()).since(&before);
        assert!(!spent.0.is_empty());
        let mut twice = CpuTimes(BTreeMap::from([("worker".to_owned(), Duration::from_millis(3))]));
        twice.add(&twice.clone());
        assert_eq!(twice.per_call(1000), "worker 6.0");
    }
}
