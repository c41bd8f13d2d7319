//! The kinds that are known, each with its schema and its rules.

use kube::core::cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use serde_json::Value;

use super::schema;
use crate::api::{GROUP, VERSION, crds};

/// A kind of ours.
pub(super) struct Kind {
    pub name: String,
    /// Its structural schema, with that of `metadata` put in.
    pub schema: Value,
    rules: CompiledSchema,
}

/// A rule that an object breaks.
pub(super) struct Broken {
    pub path: String,
    pub message: String,
}

/// All kinds of ours.
pub(super) struct Kinds {
    kinds: Vec<Kind>,
    validator: Validator,
}

impl Kinds {
    pub(super) fn new() -> Self {
        let kinds = crds()
            .into_iter()
            .filter_map(|crd| {
                let version = crd.spec.versions.into_iter().find(|version| version.name == VERSION)?;
                let mut schema = serde_json::to_value(version.schema?.open_api_v3_schema?).ok()?;
                let rules = compile_schema(&schema);
                let properties = schema.get_mut("properties")?.as_object_mut()?;
                properties.insert("metadata".to_owned(), schema::metadata());
                for own in ["apiVersion", "kind"] {
                    properties.insert(own.to_owned(), serde_json::json!({ "type": "string" }));
                }
                Some(Kind { name: crd.spec.names.kind, schema, rules })
            })
            .collect();
        Self { kinds, validator: Validator::new() }
    }

    pub(super) fn find(&self, name: &str) -> Option<&Kind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.kinds.iter().map(|kind| kind.name.as_str())
    }

    /// The rules (`x-kubernetes-validations`) that an object breaks. One that cannot be evaluated, because what it
    /// speaks of has the wrong type, is no finding of its own.
    pub(super) fn broken_rules(&self, kind: &Kind, object: &Value) -> Vec<Broken> {
        let Err(errors) = self.validator.validate_compiled(&kind.rules, object, None) else { return Vec::new() };
        errors
            .into_vec()
            .into_iter()
            .filter(|error| error.kind == ErrorKind::ValidationFailure)
            .map(|error| Broken { path: error.field_path, message: error.message })
            .collect()
    }
}

/// The API version that our objects have.
pub(super) fn api_version() -> String {
    format!("{GROUP}/{VERSION}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_can_be_evaluated_here() {
        for crd in crds() {
            let schema = crd.spec.versions.into_iter().next().and_then(|version| version.schema);
            let schema = schema.and_then(|schema| schema.open_api_v3_schema).expect("a schema");
            let compiled = compile_schema(&serde_json::to_value(schema).expect("JSON"));
            assert!(!compiled.has_errors(), "{:?}", compiled.compilation_errors());
        }
    }
}
