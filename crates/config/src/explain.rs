//! `config --explain OPTION`: what an option is, does and is set to, and who said so.

use saltern_value::Value;

use crate::error::Place;
use crate::known;
use crate::load::{Loaded, specs};
use crate::nearest::nearest;
use crate::option::Support;

/// All there is to say about one option.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Its name.
    pub name: String,
    /// What it has to be.
    pub expected: String,
    /// Its default, when it has one.
    pub default: Option<Value>,
    /// Its value now; `<secret>` for one that must not be shown.
    pub value: Value,
    /// Where it was set; `None` when the default holds.
    pub place: Option<Place>,
    /// What it does.
    pub doc: String,
    /// Whether Saltern acts on it.
    pub support: Support,
}

impl<T> Loaded<T> {
    /// Explains an option by its name or a former name; `None` when no such option is known or
    /// set.
    #[must_use]
    pub fn explain(&self, option: &str) -> Option<Explanation> {
        let option = option.trim();
        let of_name = |name: &str, default: Option<Value>, secret: bool| {
            let value = self.raw.get(name).cloned();
            let value = value.or_else(|| default.clone()).unwrap_or_default();
            let hidden = secret && value.truthy();
            (if hidden { Value::from("<secret>") } else { value }, default)
        };
        let typed =
            specs(self.role).iter().find(|s| s.name == option || s.aliases.contains(&option));
        if let Some(spec) = typed {
            let (value, default) = of_name(spec.name, Some(spec.default.value()), spec.secret);
            let former = spec.aliases.iter().find_map(|former| self.sources.get(*former));
            return Some(Explanation {
                name: spec.name.to_owned(),
                expected: spec.expected.to_owned(),
                default,
                value,
                place: self.sources.get(spec.name).or(former).cloned(),
                doc: spec.doc.trim().to_owned(),
                support: spec.support,
            });
        }
        if let Some(known) = known::find(self.role, option) {
            let (value, default) = of_name(option, known.default(), option.contains("pass"));
            let doc = match (known.of_other, known.support) {
                (true, _) => format!("An option of the {}.", self.role.other().name()),
                (false, Support::Moot) => {
                    "Known to Salt; there is nothing in Saltern it could change.".to_owned()
                }
                (false, _) => "Known to Salt; it has no effect yet in Saltern.".to_owned(),
            };
            return Some(Explanation {
                name: option.to_owned(),
                expected: known.expected(),
                default,
                value,
                place: self.sources.get(option).cloned(),
                doc,
                support: known.support,
            });
        }
        let value = self.raw.get(option)?.clone();
        Some(Explanation {
            name: option.to_owned(),
            expected: "any value".to_owned(),
            default: None,
            value,
            place: self.sources.get(option).cloned(),
            doc: "Unknown to Salt: only config.get sees it.".to_owned(),
            support: Support::Later,
        })
    }

    /// The known option a mistyped name is most like.
    #[must_use]
    pub fn nearest(&self, option: &str) -> Option<&'static str> {
        let typed = specs(self.role).iter().map(|s| s.name);
        nearest(option, typed.chain(known::all(self.role).map(|k| k.name)))
    }
}
