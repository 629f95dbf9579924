//! What `sampan dev` takes while it has 20 instances and nothing to do.

use std::time::{Duration, Instant};

use super::Ground;
use super::figure::Figure;
use super::provider::memory_mb;
use super::workload::{application, path};

const INSTANCES: u32 = 20;
const APPLICATIONS: u32 = 4;
const SPAN: Duration = Duration::from_secs(20);
/// Linux counts the time of processes in hundredths of a second, whatever the kernel's own tick.
const TICK: f64 = 0.01;

/// Seconds of CPU, all threads, from `/proc/PID/stat`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name in brackets may hold anything, hence from its end on.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some((next()? + next()?) * TICK)
}

fn cpu_of(process: u32) -> Result<f64, String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    stat.ok().and_then(|stat| cpu_seconds(&stat)).ok_or_else(|| format!("no CPU time of process {process}"))
}

/// The containerd that `sampan dev` has started.
fn containerd_of(dev: &sampan_testacc::Dev) -> Option<u32> {
    let socket = dev.data_dir.to_string_lossy().into_owned();
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).into_owned();
        let first = command.split('\0').next()?;
        (first.ends_with("/containerd") && command.contains(&socket)).then(|| entry.file_name())?.to_str()?.parse().ok()
    })
}

pub fn measure(ground: &mut Ground) -> Result<Vec<Figure>, String> {
    ground.progress.step(&format!("{INSTANCES} instances for the idle server"));
    let api = &ground.api;
    for number in 0..APPLICATIONS {
        let spec = application(&ground.image, INSTANCES / APPLICATIONS, "64Mi", 0);
        api.finish(&api.create(&path(&format!("idle-{number}")), &spec)?)?;
    }
    std::thread::sleep(Duration::from_secs(3));
    ground.progress.step(&format!("idle with {INSTANCES} instances, {} s", SPAN.as_secs()));
    let (process, containerd) = (ground.dev.id(), containerd_of(&ground.dev));
    let busy = |process: u32| cpu_of(process);
    let (before, begun) = (busy(process)?, Instant::now());
    let before_runtime = containerd.and_then(|process| busy(process).ok());
    std::thread::sleep(SPAN);
    let span = begun.elapsed().as_secs_f64();
    let percent = (busy(process)? - before) / span * 100.0;
    let runtime = containerd.and_then(|process| busy(process).ok()).zip(before_runtime);
    let runtime = runtime.map_or_else(
        || "containerd's own was not found".to_owned(),
        |(after, before)| format!("containerd took {:.1} % meanwhile", (after - before) / span * 100.0),
    );
    let memory = memory_mb(std::path::Path::new(&format!("/proc/{process}")), "VmRSS")
        .ok_or("the memory of sampan dev cannot be read")?;
    for number in 0..APPLICATIONS {
        ground.remove(&path(&format!("idle-{number}")), None)?;
    }
    Ok(vec![
        Figure::limit(
            "idle sampan dev, memory",
            memory,
            "MB",
            60.0,
            &format!("VmRSS of `sampan dev` without its containerd, with {INSTANCES} ready instances."),
        ),
        Figure::limit(
            "idle sampan dev, CPU",
            percent,
            "%",
            1.0,
            &format!(
                "CPU of `sampan dev` in {} s with {INSTANCES} ready instances, each with a readiness probe every 10 s, \
                 in percent of one core; {runtime}.",
                SPAN.as_secs()
            ),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_user_and_system_time_also_behind_a_strange_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 9 9 20 0 1 0 5 1 1";
        assert!((cpu_seconds(stat).unwrap_or_default() - 2.0).abs() < 1e-9);
        assert_eq!(cpu_seconds("7 (x) S 1"), None);
    }
}
