//! The options of a cluster that has some already.

use super::{Declaration, Resolved};
use bigdata_chassis::http::json::escape;
use bigdata_common::api::problem::Fault;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

impl Declaration {
    /// The values of a cluster that has options already (`former`, without its secrets, whose names `stored` are) and is to
    /// have those of `request` beside. Options that are declared no more are left out.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve), and where the request would change a secret: that is an action of the product's.
    pub fn resolve_change(
        &self,
        former: &Map<String, Value>,
        stored: &BTreeSet<String>,
        request: &Map<String, Value>,
    ) -> Result<Resolved, Vec<Fault>> {
        let kept: BTreeSet<String> = self
            .options
            .iter()
            .filter(|(name, declared)| declared.secret && stored.contains(*name))
            .map(|(name, _)| name.clone())
            .collect();
        let mut faults: Vec<Fault> = Vec::new();
        for name in kept.iter().filter(|name| request.contains_key(*name)) {
            let words = format!("the cluster keeps its secret {name}; only an action of the product changes it");
            faults.push(Fault::new(format!("/{}", escape(name)), words));
        }
        let mut wanted = request.clone();
        wanted.retain(|name, _| !kept.contains(name));
        for (name, value) in former.iter().filter(|(name, _)| self.options.contains_key(*name) && !kept.contains(*name))
        {
            if !value.is_null() {
                wanted.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        // A kept secret stands for itself, whatever its present value is.
        let others = self.options.iter().filter(|(name, _)| !kept.contains(*name));
        match self.resolve_these(others, &wanted) {
            Ok(mut resolved) if faults.is_empty() => {
                let late = |name: &String| (name.clone(), Value::String(format!("@{{secret:{name}}}")));
                resolved.context.extend(kept.iter().map(late));
                let mut values = std::mem::take(&mut resolved.context);
                let in_order = self.options.keys().filter_map(|name| values.shift_remove_entry(name));
                resolved.context = in_order.collect();
                resolved.kept = kept;
                Ok(resolved)
            }
            Ok(_) => Err(faults),
            Err(more) => {
                faults.extend(more);
                Err(faults)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::MASK;
    use crate::options::resolve::tests::DECLARED;
    use serde_json::json;

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let declaration = Declaration::parse(DECLARED).unwrap();
        let change = |former: Value, stored: &[&str], request: Value| {
            let stored = stored.iter().map(|name| (*name).to_owned()).collect();
            declaration.resolve_change(former.as_object().unwrap(), &stored, request.as_object().unwrap())
        };
        let former = json!({"size": 2, "cpu": 4, "fast": true, "name": "n", "a.b": "4G", "gone": 1});
        let resolved = change(former.clone(), &["password", "token"], json!({"size": "3"})).unwrap();
        assert_eq!((&resolved.context["size"], &resolved.context["cpu"]), (&json!(3), &json!(4)));
        assert_eq!(resolved.context["token"], json!("@{secret:token}"));
        assert!(resolved.secrets.is_empty() && !resolved.context.contains_key("gone"));
        assert_eq!((resolved.masked()["token"].clone(), resolved.open().get("token")), (json!(MASK), None));
        assert_eq!(resolved.secret_names().len(), 2);
        // What is new and secret is generated, or named where it is required.
        let resolved = change(former.clone(), &["password"], json!({})).unwrap();
        assert_eq!(resolved.secrets["token"].len(), 12);
        let pointers = |result: Result<Resolved, Vec<Fault>>| {
            result.unwrap_err().into_iter().map(|fault| fault.pointer).collect::<Vec<_>>()
        };
        assert_eq!(pointers(change(former.clone(), &["token"], json!({}))), ["/password"]);
        assert_eq!(pointers(change(former.clone(), &["password", "token"], json!({"token": "x"}))), ["/token"]);
        assert_eq!(
            pointers(change(former, &["password", "token"], json!({"size": 10, "other": 1}))),
            ["/other", "/size"]
        );
        // A former value that the declaration refuses now is named, too.
        assert_eq!(pointers(change(json!({"size": 10}), &["password", "token"], json!({}))), ["/size"]);
    }
}
