//! Differences between texts, line by line, as Python's `difflib.unified_diff` finds and shows
//! them.

use std::collections::HashMap;

/// Lines of context around a change.
const CONTEXT: usize = 3;

/// How a part of the first text becomes one of the second.
#[derive(Clone, Copy, Debug)]
struct Op {
    equal: bool,
    a: (usize, usize),
    b: (usize, usize),
}

/// The difference of two texts, given as lines with their ends; empty when they are the same.
pub(super) fn unified(a: &[&str], b: &[&str]) -> String {
    let mut out = String::new();
    for group in grouped(&opcodes(a, b)) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        if out.is_empty() {
            out.push_str("--- \n+++ \n");
        }
        out.push_str(&format!(
            "@@ -{} +{} @@\n",
            range(first.a.0, last.a.1),
            range(first.b.0, last.b.1)
        ));
        for op in group {
            let (sign_a, sign_b) = if op.equal { (" ", None) } else { ("-", Some("+")) };
            for line in a.get(op.a.0..op.a.1).unwrap_or_default() {
                out.push_str(sign_a);
                out.push_str(line);
            }
            for line in b.get(op.b.0..op.b.1).unwrap_or_default() {
                if let Some(sign) = sign_b {
                    out.push_str(sign);
                    out.push_str(line);
                }
            }
        }
    }
    out
}

fn range(start: usize, stop: usize) -> String {
    match stop - start {
        1 => (start + 1).to_string(),
        0 => format!("{start},0"),
        length => format!("{},{length}", start + 1),
    }
}

fn opcodes(a: &[&str], b: &[&str]) -> Vec<Op> {
    let (mut at_a, mut at_b) = (0, 0);
    let mut ops = Vec::new();
    for (i, j, size) in matching_blocks(a, b) {
        if at_a < i || at_b < j {
            ops.push(Op { equal: false, a: (at_a, i), b: (at_b, j) });
        }
        if size > 0 {
            ops.push(Op { equal: true, a: (i, i + size), b: (j, j + size) });
        }
        (at_a, at_b) = (i + size, j + size);
    }
    ops
}

/// Equal runs, longest first found and then sought on both sides of it.
fn matching_blocks(a: &[&str], b: &[&str]) -> Vec<(usize, usize, usize)> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (j, line) in b.iter().enumerate() {
        places.entry(line).or_default().push(j);
    }
    // Lines that are everywhere say nothing about where a text moved.
    if b.len() >= 200 {
        let many = b.len() / 100 + 1;
        places.retain(|_, at| at.len() <= many);
    }
    let mut blocks = Vec::new();
    let mut todo = vec![(0, a.len(), 0, b.len())];
    while let Some((alo, ahi, blo, bhi)) = todo.pop() {
        let (i, j, size) = longest(a, b, &places, (alo, ahi, blo, bhi));
        if size > 0 {
            blocks.push((i, j, size));
            todo.push((alo, i, blo, j));
            todo.push((i + size, ahi, j + size, bhi));
        }
    }
    blocks.sort_unstable();
    let mut joined: Vec<(usize, usize, usize)> = Vec::new();
    for (i, j, size) in blocks {
        match joined.last_mut() {
            Some(last) if last.0 + last.2 == i && last.1 + last.2 == j => last.2 += size,
            _ => joined.push((i, j, size)),
        }
    }
    joined.push((a.len(), b.len(), 0));
    joined
}

fn longest(
    a: &[&str],
    b: &[&str],
    places: &HashMap<&str, Vec<usize>>,
    (alo, ahi, blo, bhi): (usize, usize, usize, usize),
) -> (usize, usize, usize) {
    let (mut i, mut j, mut size) = (alo, blo, 0);
    let mut lengths: HashMap<usize, usize> = HashMap::new();
    for (at, line) in a.iter().enumerate().take(ahi).skip(alo) {
        let mut next = HashMap::new();
        for place in places.get(line).into_iter().flatten().copied() {
            if place < blo {
                continue;
            }
            if place >= bhi {
                break;
            }
            let run = 1 + place.checked_sub(1).and_then(|p| lengths.get(&p)).copied().unwrap_or(0);
            next.insert(place, run);
            if run > size {
                (i, j, size) = (at + 1 - run, place + 1 - run, run);
            }
        }
        lengths = next;
    }
    // What was left out of the index may still stand next to what was found.
    while i > alo && j > blo && a.get(i - 1) == b.get(j - 1) {
        (i, j, size) = (i - 1, j - 1, size + 1);
    }
    while i + size < ahi && j + size < bhi && a.get(i + size) == b.get(j + size) {
        size += 1;
    }
    (i, j, size)
}

/// Changes with their context, those near each other together.
fn grouped(ops: &[Op]) -> Vec<Vec<Op>> {
    let mut ops = ops.to_vec();
    if let Some(first) = ops.first_mut().filter(|op| op.equal) {
        first.a.0 = first.a.0.max(first.a.1.saturating_sub(CONTEXT));
        first.b.0 = first.b.0.max(first.b.1.saturating_sub(CONTEXT));
    }
    if let Some(last) = ops.last_mut().filter(|op| op.equal) {
        last.a.1 = last.a.1.min(last.a.0 + CONTEXT);
        last.b.1 = last.b.1.min(last.b.0 + CONTEXT);
    }
    let mut groups = Vec::new();
    let mut group: Vec<Op> = Vec::new();
    for op in ops {
        if op.equal && op.a.1 - op.a.0 > 2 * CONTEXT {
            group.push(Op { a: (op.a.0, op.a.0 + CONTEXT), b: (op.b.0, op.b.0 + CONTEXT), ..op });
            groups.push(std::mem::take(&mut group));
            group.push(Op { a: (op.a.1 - CONTEXT, op.a.1), b: (op.b.1 - CONTEXT, op.b.1), ..op });
        } else {
            group.push(op);
        }
    }
    if group.iter().any(|op| !op.equal) {
        groups.push(group);
    }
    groups.retain(|g| g.iter().any(|op| !op.equal));
    groups
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn differences_look_as_pythons() {
        let a: Vec<String> = (1..=20).map(|i| format!("{i}\n")).collect();
        let mut b = a.clone();
        b[1] = "two\n".to_owned();
        b.remove(17);
        let refs = |v: &[String]| v.iter().map(|s| s.as_str().to_owned()).collect::<Vec<_>>();
        let (ra, rb) = (refs(&a), refs(&b));
        let (ra, rb): (Vec<&str>, Vec<&str>) =
            (ra.iter().map(String::as_str).collect(), rb.iter().map(String::as_str).collect());
        assert_eq!(
            unified(&ra, &rb),
            "--- \n+++ \n@@ -1,5 +1,5 @@\n 1\n-2\n+two\n 3\n 4\n 5\n@@ -15,6 +15,5 @@\n 15\n 16\n 17\n-18\n 19\n 20\n"
        );
        assert_eq!(unified(&ra, &ra), "");
        assert_eq!(unified(&[], &["x\n"]), "--- \n+++ \n@@ -0,0 +1 @@\n+x\n");
    }
}
