//! Labels of the provider block, and which labels are whose.
//!
//! The server has one set of labels for an object. In a state, `labels` are those of the resource's own configuration and
//! `effective_labels` are all of them; the latter is null as long as the provider block has none.

use crate::mapping::to_json;
use crate::settings::Connection;
use sampan_schema::check;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use tf_plugin::{Object, Value};

/// The computed attribute.
pub(crate) const EFFECTIVE: &str = "effective_labels";

/// Puts the defaults into a spec; the spec's own labels win. Unknown labels stay so.
pub(crate) fn add(defaults: &BTreeMap<String, String>, spec: &mut Json) {
    let Some(members) = spec.as_object_mut().filter(|_| !defaults.is_empty()) else { return };
    let labels = members.entry("labels").or_insert(Json::Null);
    if *labels == check::unknown() {
        return;
    }
    let mut all: Map<String, Json> = defaults.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    all.extend(labels.as_object().cloned().unwrap_or_default());
    *labels = Json::Object(all);
}

/// The labels that a state stands for, in a spec made from it.
pub(crate) fn restore(state: &Object, spec: &mut Json) {
    let effective = state.attr(EFFECTIVE);
    if let Some(members) = spec.as_object_mut().filter(|_| !effective.is_null()) {
        members.insert("labels".to_owned(), to_json(effective));
    }
}

/// What `effective_labels` is planned to be. Without a connection the defaults are not known.
pub(crate) fn planned(to: Option<&Connection>, prior: Option<&Object>, planned: &Object) -> Value {
    let own = planned.attr("labels");
    match to {
        Some(to) if to.default_labels.is_empty() => Value::Null,
        Some(_) if own.is_unknown() => Value::UNKNOWN,
        Some(to) => {
            let mut all: BTreeMap<String, Value> =
                to.default_labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
            all.extend(own.as_map().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
            Value::map(all)
        }
        None => match prior {
            Some(prior) if prior.attr("labels").same(own) => prior.attr(EFFECTIVE).clone(),
            _ => Value::UNKNOWN,
        },
    }
}

/// The labels that belong to the resource, of those that the server has: without what the provider block put there, now
/// or when `stored` was written.
pub(crate) fn own(to: &Connection, stored: &Object, remote: &Json) -> Json {
    let Some(all) = remote.as_object() else { return remote.clone() };
    let written = stored.attr("labels").as_map();
    let before = stored.attr(EFFECTIVE).as_map();
    let added = |key: &String, value: &Json| {
        let value = value.as_str();
        let then = before.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        let now = to.default_labels.get(key).map(String::as_str);
        value.is_some() && (value == then || value == now)
    };
    let mine = |key: &String| written.is_some_and(|labels| labels.contains_key(key));
    all.iter().filter(|(key, value)| mine(key) || !added(key, value)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// `effective_labels` of an object that was read or written.
pub(crate) fn seen(to: &Connection, stored: &Object, remote: &Json) -> Value {
    if to.default_labels.is_empty() && stored.attr(EFFECTIVE).is_null() {
        return Value::Null;
    }
    let all = remote.as_object().into_iter().flatten();
    Value::map(all.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.into()))))
}
