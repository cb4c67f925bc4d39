//! The job that a `salt` command line describes: target, function, arguments.

use saltern_client::JobRequest;
use saltern_modules::{condition_input, parse_args};
use saltern_value::{Map, Value};

use super::salt::Args;
use crate::exit::{self, Failure};

/// The job that the command line asks for.
///
/// # Errors
/// When the words are too few; Salt's exit code for that is 42.
pub(super) fn request(args: &Args) -> Result<JobRequest, Failure> {
    let mut words = args.words.iter();
    let expression =
        words.next().ok_or_else(|| incomplete("salt: a target and a function are required"))?;
    let (fun, arg) = if args.doc {
        (Value::from("sys.doc"), words.map(|w| Value::from(w.as_str())).collect())
    } else if args.preview_target {
        (Value::from("test.ping"), Vec::new())
    } else {
        let fun = words.next().ok_or_else(|| incomplete("salt: a function is required"))?;
        let rest: Vec<String> = words.cloned().collect();
        call(fun, &rest, args)?
    };
    let mut kwargs = Map::new();
    if let Some(delimiter) = &args.target.delimiter {
        kwargs.insert("delimiter", delimiter.as_str());
    }
    if let Some(config) = &args.return_config {
        kwargs.insert("ret_config", config.as_str());
    }
    let typed = [
        ("metadata", &args.metadata),
        ("ret_kwargs", &args.return_kwargs),
        ("module_executors", &args.module_executors),
        ("executor_opts", &args.executor_opts),
    ];
    for (name, text) in typed {
        if let Some(text) = text {
            kwargs.insert(name, saltern_modules::yamlify(text));
        }
    }
    Ok(JobRequest {
        tgt: args.target.tgt(expression),
        tgt_type: if args.compound { "compound" } else { args.target.tgt_type() }.to_owned(),
        fun,
        arg,
        ret: args.returner.clone(),
        jid: None,
        kwargs,
    })
}

fn incomplete(message: &str) -> Failure {
    Failure::new(exit::CONFIG, message)
        .hint("for example: salt '*' test.ping; see salt --help for the options")
}

fn call(fun: &str, rest: &[String], args: &Args) -> Result<(Value, Vec<Value>), Failure> {
    let typed = |texts: &[String]| {
        let (positional, keywords) = parse_args(texts, &args.no_parse);
        condition_input(positional, keywords)
    };
    if !fun.contains(',') {
        return Ok((Value::from(fun), typed(rest)));
    }
    let funs: Vec<&str> = fun.split(',').collect();
    let parts = compound_arguments(rest, &args.args_separator, funs.len()).ok_or_else(|| {
        Failure::new(
            exit::CONFIG,
            format!(
                "'{fun}' names {} functions, but the arguments make another number of groups",
                funs.len()
            ),
        )
        .hint(format!("separate the groups by '{}'", args.args_separator))
    })?;
    let lists = parts.iter().map(|part| Value::List(typed(part))).collect();
    Ok((Value::List(funs.into_iter().map(Value::from).collect()), lists))
}

/// Divides the arguments of a compound call: by words that are the separator when there are as
/// many as needed, else by every separator inside the words.
fn compound_arguments(words: &[String], separator: &str, count: usize) -> Option<Vec<Vec<String>>> {
    let standalone = words.iter().filter(|w| *w == separator).count() + 1 == count;
    let mut groups = vec![Vec::new()];
    for word in words {
        let parts: Vec<&str> = if standalone && word == separator {
            vec!["", ""]
        } else if standalone {
            vec![word]
        } else {
            word.split(separator).collect()
        };
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                groups.push(Vec::new());
            }
            if !part.is_empty() {
                groups.last_mut()?.push((*part).to_owned());
            }
        }
    }
    (groups.len() == count).then_some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_compound_calls_are_divided() {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let divided = |list: &[&str], n| compound_arguments(&words(list), ",", n);
        assert_eq!(
            divided(&["cat /x", ",", ",", "foo"], 3),
            Some(vec![words(&["cat /x"]), words(&[]), words(&["foo"])])
        );
        assert_eq!(
            divided(&["cat /x,,foo"], 3),
            Some(vec![words(&["cat /x"]), words(&[]), words(&["foo"])])
        );
        assert_eq!(divided(&[], 2), None);
        assert_eq!(divided(&["a,b,c"], 2), None);
    }
}
