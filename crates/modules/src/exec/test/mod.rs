//! `test`: is the minion there, and what arrives of a call.

use std::time::{Duration, Instant};

use saltern_value::{Map, Value, pyrepr};

use crate::bind::{Bound, to_int, to_text};
use crate::context::Context;
use crate::error::Error;
use crate::registry::{Function, Module};

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "test",
    doc: "Try out minions and the way to them.",
    functions: &[
        Function::new(
            "arg",
            "*args, **kwargs",
            arg,
            "Returns the arguments as they arrived.",
            "test.arg 1 two wow='{a: 1}'",
        ),
        Function::new(
            "arg_clean",
            "*args, **kwargs",
            arg_clean,
            "Returns the arguments without what the publication adds.",
            "test.arg_clean 1 two wow='{a: 1}'",
        ),
        Function::new(
            "arg_repr",
            "*args, **kwargs",
            arg_repr,
            "Returns the arguments as Python would write them.",
            "test.arg_repr 1 two wow='{a: 1}'",
        ),
        Function::new(
            "arg_type",
            "*args, **kwargs",
            arg_type,
            "Returns the types of the arguments.",
            "test.arg_type 1 int",
        ),
        Function::new(
            "assertion",
            "assertion",
            assertion,
            "Fails unless the argument is true.",
            "test.assertion False",
        ),
        Function::new(
            "attr_call",
            "",
            attr_call,
            "Returns the grains by way of another module.",
            "test.attr_call",
        ),
        Function::new(
            "collatz",
            "start",
            collatz,
            "Computes the Collatz sequence of a number; returns it and the seconds it took.",
            "test.collatz 3",
        ),
        Function::new("conf_test", "", conf_test, "Returns the option test.foo.", "test.conf_test"),
        Function::new(
            "cross_test",
            "func, args=None",
            cross_test,
            "Calls another function from within the minion.",
            "test.cross_test file.gid_to_group '[0]'",
        ),
        Function::new("echo", "text", echo, "Returns the text.", "test.echo 'hello there'"),
        Function::new(
            "exception",
            "message='Test Exception'",
            exception,
            "Fails with that message.",
            "test.exception 'no luck'",
        ),
        Function::new("false", "", |_, _| Ok(Value::Bool(false)), "Returns False.", "test.false"),
        Function::new(
            "fib",
            "num",
            fib,
            "Computes a Fibonacci number; returns it and the seconds it took.",
            "test.fib 30",
        ),
        Function::new("get_opts", "", get_opts, "Returns the minion's options.", "test.get_opts"),
        Function::new(
            "kwarg",
            "**kwargs",
            kwarg,
            "Returns the keyword arguments as they arrived.",
            "test.kwarg num=1 txt=two",
        ),
        Function::new(
            "module_report",
            "",
            module_report,
            "Lists all modules and functions.",
            "test.module_report",
        ),
        Function::new(
            "opts_pkg",
            "",
            opts_pkg,
            "Returns the minion's options together with its grains.",
            "test.opts_pkg",
        ),
        Function::new(
            "outputter",
            "data",
            outputter,
            "Returns the argument, to try an outputter on.",
            "test.outputter foobar --out yaml",
        ),
        Function::new("ping", "", ping, "Returns True: the minion is up and answers.", "test.ping"),
        Function::new(
            "provider",
            "module",
            provider,
            "Names the provider of a module.",
            "test.provider service",
        ),
        Function::new(
            "providers",
            "",
            providers,
            "Maps the providers to their modules.",
            "test.providers",
        ),
        Function::new(
            "raise_exception",
            "name, *args, **kwargs",
            raise_exception,
            "Fails as the named exception does; False when there is none of that name.",
            "test.raise_exception salt.exceptions.CommandExecutionError 'no luck'",
        ),
        Function::new(
            "rand_sleep",
            "max=60",
            rand_sleep,
            "Sleeps for a random number of seconds.",
            "test.rand_sleep 60",
        ),
        Function::new(
            "rand_str",
            "size=9999999999, hash_type=None",
            random_hash,
            "Another name of test.random_hash.",
            "test.rand_str",
        ),
        Function::new(
            "random_hash",
            "size=9999999999, hash_type=None",
            random_hash,
            "Returns the hash of a random number of 1 to size.",
            "test.random_hash hash_type=sha512",
        ),
        Function::new(
            "retcode",
            "code=42",
            retcode,
            "Sets the return code of the job.",
            "test.retcode 42",
        ),
        Function::new("sleep", "length", sleep, "Sleeps that many seconds.", "test.sleep 20"),
        Function::new("stack", "", stack, "Describes where the call runs.", "test.stack"),
        Function::new("true", "", |_, _| Ok(Value::Bool(true)), "Returns True.", "test.true"),
        Function::new(
            "try",
            "module, return_try_exception=False, **kwargs",
            try_,
            "Calls a function and returns None if it fails, or the error when return_try_exception is set.",
            "test.try module=file.read path=/no/such/file",
        ),
        Function::new(
            "tty",
            "*args, **kwargs",
            tty,
            "Has moved to cmd.tty.",
            "cmd.tty tty0 'This is a test'",
        ),
        Function::new(
            "version",
            "",
            version,
            "Returns the version of Salt this minion works like.",
            "test.version",
        ),
        Function::new(
            "versions",
            "",
            versions_report,
            "Another name of test.versions_report.",
            "test.versions",
        ),
        Function::new(
            "versions_information",
            "",
            versions_information,
            "Returns the versions of the program and the system.",
            "test.versions_information",
        ),
        Function::new(
            "versions_report",
            "",
            versions_report,
            "Returns the versions of the program and the system as text.",
            "test.versions_report",
        ),
    ],
};

fn ping(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    Ok(Value::Bool(true))
}

fn echo(_: &Context<'_>, mut args: Bound) -> Result<Value, Error> {
    Ok(args.take("text"))
}

fn outputter(_: &Context<'_>, mut args: Bound) -> Result<Value, Error> {
    Ok(args.take("data"))
}

fn kwarg(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(Value::Map(args.kwargs))
}

fn pair(args: impl Into<Value>, kwargs: impl Into<Value>) -> Value {
    Value::Map(Map::from([("args", args.into()), ("kwargs", kwargs.into())]))
}

fn arg(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(pair(args.varargs, args.kwargs))
}

/// Keyword arguments without those of the publication.
pub(crate) fn clean_kwargs(mut kwargs: Map) -> Map {
    kwargs.retain(|key, _| !key.as_str().is_some_and(|k| k.starts_with("__")));
    kwargs
}

fn arg_clean(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(pair(args.varargs, clean_kwargs(args.kwargs)))
}

fn arg_type(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let class = |v: &Value| Value::from(format!("<class '{}'>", v.type_name()));
    let kwargs: Map = args.kwargs.iter().map(|(k, v)| (k.clone(), class(v))).collect();
    Ok(pair(args.varargs.iter().map(class).collect::<Vec<_>>(), kwargs))
}

fn arg_repr(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let items: Vec<String> = args.varargs.iter().map(pyrepr::repr).collect();
    // A Python tuple of one has a comma at its end.
    let tuple = match items.as_slice() {
        [one] => format!("({one},)"),
        all => format!("({})", all.join(", ")),
    };
    Ok(pair(tuple, pyrepr::repr(&Value::Map(args.kwargs))))
}

fn assertion(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    if args.truthy("assertion") {
        return Ok(Value::Nil);
    }
    Err(Error::Exception("AssertionError".to_owned()))
}

fn attr_call(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    ctx.run("grains.items", Vec::new(), Map::new())
}

fn conf_test(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    ctx.run("config.option", vec!["test.foo".into()], Map::new())
}

fn cross_test(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    ctx.run(&args.text("func"), args.list("args"), Map::new())
}

fn sleep(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let length = number(args.get("length"))?;
    let seconds = u64::try_from(length).map_err(|_| {
        Error::Exception("ValueError: sleep length must be non-negative".to_owned())
    })?;
    Ok(Value::Bool(ctx.job().sleep(Duration::from_secs(seconds))))
}

fn number(value: &Value) -> Result<i64, Error> {
    to_int(value).ok_or_else(|| {
        Error::Exception(format!(
            "ValueError: invalid literal for int() with base 10: {}",
            pyrepr::repr(value)
        ))
    })
}

fn rand_sleep(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let max = u64::try_from(args.int("max")?).unwrap_or(0);
    Ok(Value::Bool(ctx.job().sleep(Duration::from_secs(fastrand::u64(0..=max)))))
}

fn fib(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let num = number(args.get("num"))?;
    if num < 0 {
        return Err(Error::Exception("ValueError: Negative number is not allowed!".to_owned()));
    }
    let start = Instant::now();
    let (mut previous, mut current) = (0i128, i128::from(num.min(1)));
    for _ in 1..num {
        (previous, current) = (
            current,
            previous.checked_add(current).ok_or_else(|| {
                Error::invalid("the number is too large; the largest that fits is 184")
            })?,
        );
    }
    Ok(Value::List(vec![current.into(), start.elapsed().as_secs_f64().into()]))
}

fn collatz(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let mut at = number(args.get("start"))?;
    if at < 1 {
        return Err(Error::invalid("the start must be a positive number"));
    }
    let begin = Instant::now();
    let mut steps = Vec::new();
    while at != 1 {
        steps.push(Value::Int(at));
        at = if at % 2 == 0 {
            at / 2
        } else {
            at.checked_mul(3)
                .and_then(|x| x.checked_add(1))
                .ok_or_else(|| Error::invalid("the sequence leaves the numbers that fit"))?
        };
    }
    Ok(Value::List(vec![steps.into(), begin.elapsed().as_secs_f64().into()]))
}

fn retcode(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    ctx.set_retcode(args.int("code")?);
    Ok(Value::Bool(true))
}

fn get_opts(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    Ok(Value::Map((*ctx.host().opts()).clone()))
}

fn opts_pkg(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let mut opts = (*ctx.host().opts()).clone();
    opts.insert("grains", (*ctx.host().grains()).clone());
    Ok(Value::Map(opts))
}

fn provider(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let name = args.text("module");
    let known = ctx.registry().modules().iter().any(|m| m.name == name);
    Ok(Value::from(if known { name } else { String::new() }))
}

fn providers(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    Ok(ctx.registry().modules().iter().map(|m| (m.name, m.name)).collect())
}

fn module_report(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let functions: Vec<String> = ctx.registry().functions().map(|(name, _)| name).collect();
    let modules: Vec<String> = ctx.registry().modules().iter().map(|m| m.name.to_owned()).collect();
    Ok(Value::Map(Map::from([
        ("functions", Value::from(functions.clone())),
        ("function_attrs", functions.clone().into()),
        ("function_subs", functions.into()),
        ("modules", modules.clone().into()),
        ("module_attrs", modules.into()),
        ("missing_attrs", Value::List(Vec::new())),
        ("missing_subs", Value::List(Vec::new())),
    ])))
}

fn random_hash(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let size = u64::try_from(args.int("size")?).unwrap_or(1).max(1);
    let name = args.opt_text("hash_type").or_else(|| ctx.opt_str("hash_type"));
    let kind = super::file::hash_type(name.as_deref().unwrap_or("sha256"))?;
    Ok(Value::from(kind.hex_digest(fastrand::u64(1..=size).to_string().as_bytes())))
}

fn exception(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Err(Error::Exception(format!("Exception: {}", args.text("message"))))
}

fn raise_exception(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let name = args.text("name");
    let text = args.varargs.iter().map(to_text).collect::<Vec<_>>().join(", ");
    let short = name.strip_prefix("salt.exceptions.");
    Err(match (short, name.as_str()) {
        (Some("CommandExecutionError"), _) => Error::Execution(text),
        (Some("SaltInvocationError"), _) => Error::Invocation(text),
        (Some("CommandNotFoundError"), _) => Error::NotFound(text),
        (None, "TypeError") => Error::Arguments(text),
        (None, other) if other.ends_with("Error") || other == "Exception" => {
            Error::Exception(format!("{other}: {text}"))
        }
        (Some(other), _) if other.ends_with("Error") || other == "SaltException" => {
            Error::Exception(format!("{name}: {text}"))
        }
        _ => {
            log::error!("No such exception: {name}");
            return Ok(Value::Bool(false));
        }
    })
}

fn stack(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let thread = std::thread::current();
    Ok(Value::from(format!(
        "process {}, thread {}, function {}, job {}\n",
        std::process::id(),
        thread.name().unwrap_or("without a name"),
        ctx.outer_call().fun,
        if ctx.job().jid().is_empty() { "none" } else { ctx.job().jid() },
    )))
}

fn try_(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let kwargs = clean_kwargs(args.kwargs.clone());
    match ctx.run(&args.text("module"), Vec::new(), kwargs) {
        Ok(value) => Ok(value),
        Err(error) if args.truthy("return_try_exception") => Ok(Value::from(error.to_string())),
        Err(_) => Ok(Value::Nil),
    }
}

fn tty(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    Ok(Value::from("ERROR: This function has been moved to cmd.tty"))
}

fn version(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let salt = ctx.host().grains().get("saltversion").cloned();
    Ok(salt.unwrap_or_else(|| Value::from(env!("CARGO_PKG_VERSION"))))
}

fn versions_information(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let grains = ctx.host().grains();
    let grain = |name: &str| grains.get(name).cloned().unwrap_or_default();
    let salt = Map::from([
        ("Salt", version(ctx, Bound::default())?),
        ("Saltern", Value::from(env!("CARGO_PKG_VERSION"))),
    ]);
    let system = Map::from([
        ("dist", ["os", "osrelease", "oscodename"].map(|n| to_text(&grain(n))).join(" ").into()),
        ("machine", grain("cpuarch")),
        ("release", grain("kernelrelease")),
        ("system", grain("kernel")),
        ("version", grain("kernelversion")),
    ]);
    Ok(Value::Map(Map::from([("Salt Version", salt), ("System Versions", system)])))
}

fn versions_report(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let all = versions_information(ctx, Bound::default())?;
    let mut lines = Vec::new();
    for (title, members) in all.as_map().into_iter().flatten() {
        lines.push(format!("{}:", to_text(title)));
        for (name, value) in members.as_map().into_iter().flatten() {
            lines.push(format!("{:>14}: {}", to_text(name), to_text(value)));
        }
        lines.push(String::new());
    }
    Ok(Value::from(lines.join("\n").trim_end()))
}

#[cfg(test)]
mod tests;
