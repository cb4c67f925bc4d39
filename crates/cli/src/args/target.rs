//! Which minions.

use clap::Args;
use saltern_value::Value;

/// Salt's target options: how the target expression is to be read.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Target Options")]
#[group(multiple = false)]
pub(crate) struct TargetKind {
    /// The target is a regular expression on the minion id
    #[arg(short = 'E', long)]
    pcre: bool,
    /// The target is a comma or whitespace delimited list of minion ids
    #[arg(short = 'L', long)]
    list: bool,
    /// The target is a grain and a glob on its value: "os:Arch*"
    #[arg(short = 'G', long)]
    grain: bool,
    /// The target is a grain and a regular expression on its value: "os:Arch.*"
    #[arg(short = 'P', long)]
    grain_pcre: bool,
    /// The target is the name of a nodegroup of the master's configuration
    #[arg(short = 'N', long)]
    nodegroup: bool,
    /// The target is a pillar key and a glob on its value: "role:production*"
    #[arg(short = 'I', long)]
    pillar: bool,
    /// The target is a pillar key and a regular expression on its value
    #[arg(short = 'J', long)]
    pillar_pcre: bool,
    /// The target is a subnet (CIDR notation) or an address
    #[arg(short = 'S', long)]
    ipcidr: bool,
}

/// Target options and their delimiter.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct TargetArgs {
    #[command(flatten)]
    kind: TargetKind,
    /// Change the delimiter for matching in multi-level data structures. Default: ':'
    #[arg(long, value_name = "DELIMITER")]
    pub(crate) delimiter: Option<String>,
}

impl TargetArgs {
    /// Salt's name of the kind of target.
    pub(crate) fn tgt_type(&self) -> &'static str {
        let k = &self.kind;
        let kinds = [
            (k.pcre, "pcre"),
            (k.list, "list"),
            (k.grain, "grain"),
            (k.grain_pcre, "grain_pcre"),
            (k.nodegroup, "nodegroup"),
            (k.pillar, "pillar"),
            (k.pillar_pcre, "pillar_pcre"),
            (k.ipcidr, "ipcidr"),
        ];
        kinds.iter().find(|(set, _)| *set).map_or("glob", |(_, name)| name)
    }

    /// The target as it is published: ids of a list apart, everything else as it was typed.
    pub(crate) fn tgt(&self, expression: &str) -> Value {
        if self.kind.list {
            let ids = expression.split(|c: char| c == ',' || c.is_whitespace());
            Value::List(ids.filter(|id| !id.is_empty()).map(Value::from).collect())
        } else {
            Value::from(expression)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_taken_apart() {
        let args = TargetArgs {
            kind: TargetKind { list: true, ..TargetKind::default() },
            ..TargetArgs::default()
        };
        assert_eq!(args.tgt("a,b c"), Value::from(vec!["a".to_owned(), "b".into(), "c".into()]));
        assert_eq!(args.tgt_type(), "list");
        assert_eq!(TargetArgs::default().tgt_type(), "glob");
    }
}
