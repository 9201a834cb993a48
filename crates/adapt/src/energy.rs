//! Energy that the processor takes, where the machine tells: the counters of Linux's powercap (RAPL).
//!
//! Where they are absent or may not be read (they often need a privilege), there is no figure: an estimate from a data sheet
//! would be a guess.

use std::path::{Path, PathBuf};

/// The processor packages' counters.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    packages: Vec<Package>,
}

#[derive(Debug)]
struct Package {
    counter: PathBuf,
    /// Microjoules at which the counter begins again at 0.
    range: u64,
    last: u64,
}

impl Meter {
    /// The counters of this machine; a meter without any where it does not tell.
    pub(crate) fn of_machine() -> Self {
        Self::of(Path::new("/sys/class/powercap"))
    }

    fn of(folder: &Path) -> Self {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let package = |path: PathBuf| {
            // `intel-rapl:0` is a package; `intel-rapl:0:1` a part of it that it has counted already.
            let name = path.file_name()?.to_str()?;
            if !name.starts_with("intel-rapl:") || name.matches(':').count() != 1 {
                return None;
            }
            let counter = path.join("energy_uj");
            let last = number(&counter)?;
            Some(Package { counter, range: number(&path.join("max_energy_range_uj"))?, last })
        };
        Self { packages: entries.filter_map(|entry| package(entry.path())).collect() }
    }

    /// Joules since the last call; `None` where the machine does not tell.
    pub(crate) fn joules(&mut self) -> Option<f64> {
        let mut microjoules = 0;
        for package in &mut self.packages {
            let now = number(&package.counter)?;
            microjoules += if now >= package.last {
                now - package.last
            } else {
                now + package.range.saturating_sub(package.last)
            };
            package.last = now;
        }
        (!self.packages.is_empty()).then_some(microjoules as f64 / 1e6)
    }
}

fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_added_and_a_counter_may_begin_again() {
        let folder = tempfile::tempdir().unwrap();
        let set = |zone: &str, name: &str, value: u64| {
            let zone = folder.path().join(zone);
            std::fs::create_dir_all(&zone).unwrap();
            task::atomic::write(&zone.join(name), format!("{value}\n").as_bytes()).unwrap();
        };
        assert_eq!(Meter::of(folder.path()).joules(), None);
        for zone in ["intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"] {
            set(zone, "energy_uj", 1_000_000);
            set(zone, "max_energy_range_uj", 10_000_000);
        }
        let mut meter = Meter::of(folder.path());
        set("intel-rapl:0", "energy_uj", 3_500_000);
        set("intel-rapl:1", "energy_uj", 500_000);
        set("intel-rapl:0:0", "energy_uj", 9_000_000);
        // 2.5 J, and 9.5 J over the end of the range.
        assert!((meter.joules().unwrap() - 12.0).abs() < 1e-9);
        assert_eq!(meter.joules(), Some(0.0));
    }
}
