//! CPU and memory of every application's container, in one call of the runtime.

use std::collections::HashMap;

use sampan_engine::runtime::{RuntimeError, Stats, Usage};

use crate::sandbox::{LABEL_APPLICATION, LABEL_INSTANCE, LABEL_INTERNAL, LABEL_NAMESPACE, LABEL_NODE};
use crate::{Inner, proto};

impl Inner {
    pub(crate) async fn usage(&self) -> Result<Vec<Usage>, RuntimeError> {
        let node = self.identity.node();
        let filter = proto::ContainerStatsFilter {
            label_selector: HashMap::from([(LABEL_NODE.to_string(), node.clone())]),
            ..Default::default()
        };
        let query = proto::ListContainerStatsRequest { filter: Some(filter) };
        let answer = self.cri.list_container_stats(query).await?;
        Ok(answer.stats.into_iter().filter_map(|stats| usage_from(stats, &node)).collect())
    }
}

/// `None` for what is not an application's container of this node.
fn usage_from(stats: proto::ContainerStats, node: &str) -> Option<Usage> {
    let about = stats.attributes.as_ref()?;
    let label = |key: &str| about.labels.get(key).cloned();
    if label(LABEL_NODE).as_deref() != Some(node) || about.labels.contains_key(LABEL_INTERNAL) {
        return None;
    }
    Some(Usage {
        namespace: label(LABEL_NAMESPACE)?,
        application: label(LABEL_APPLICATION)?,
        instance: label(LABEL_INSTANCE)?,
        container: about.id.clone(),
        attempt: about.metadata.as_ref()?.attempt,
        stats: stats_from(&stats),
    })
}

/// Absent values stay absent: a missing record is no data, not zero.
fn stats_from(stats: &proto::ContainerStats) -> Stats {
    let (cpu, memory) = (stats.cpu.unwrap_or_default(), stats.memory.unwrap_or_default());
    Stats {
        cpu_nanos: cpu.usage_core_nano_seconds.map(|value| value.value),
        memory_working_set_bytes: memory.working_set_bytes.map(|value| value.value),
        at: if cpu.timestamp != 0 { cpu.timestamp } else { memory.timestamp },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(labels: &[(&str, &str)]) -> proto::ContainerStats {
        proto::ContainerStats {
            attributes: Some(proto::ContainerAttributes {
                id: "c1".into(),
                metadata: Some(proto::ContainerMetadata { name: "main".into(), attempt: 3 }),
                labels: labels.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect(),
            }),
            ..Default::default()
        }
    }

    #[test]
    fn missing_statistics_are_no_data() {
        assert_eq!(stats_from(&proto::ContainerStats::default()), Stats::default());
        let value = |value| Some(proto::UInt64Value { value });
        let cpu = proto::CpuUsage { timestamp: 7, usage_core_nano_seconds: value(0), usage_nano_cores: None };
        let memory = proto::MemoryUsage { timestamp: 9, working_set_bytes: value(5), ..Default::default() };
        let only_memory = proto::ContainerStats { memory: Some(memory), ..Default::default() };
        let seen = stats_from(&only_memory);
        assert_eq!((seen.cpu_nanos, seen.memory_working_set_bytes, seen.at), (None, Some(5), 9));
        let seen = stats_from(&proto::ContainerStats { cpu: Some(cpu), ..only_memory });
        assert_eq!((seen.cpu_nanos, seen.memory_working_set_bytes, seen.at), (Some(0), Some(5), 7));
    }

    #[test]
    fn only_containers_of_applications_of_this_node_count() {
        let ours = [(LABEL_NODE, "n1"), (LABEL_NAMESPACE, "shop"), (LABEL_APPLICATION, "web"), (LABEL_INSTANCE, "w-1")];
        let usage = usage_from(record(&ours), "n1").unwrap();
        assert_eq!((usage.namespace.as_str(), usage.application.as_str()), ("shop", "web"));
        assert_eq!((usage.instance.as_str(), usage.container.as_str(), usage.attempt), ("w-1", "c1", 3));
        assert_eq!(usage_from(record(&ours), "n2"), None);
        assert_eq!(usage_from(record(&ours[..3]), "n1"), None);
        let mut probe = ours.to_vec();
        probe.push((LABEL_INTERNAL, "sampan-probe"));
        assert_eq!(usage_from(record(&probe), "n1"), None);
        assert_eq!(usage_from(proto::ContainerStats::default(), "n1"), None);
    }
}
