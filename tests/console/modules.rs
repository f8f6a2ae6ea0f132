//! What the console's modules compute, asked in the page.

use serde_json::json;
use sluice_tests::browser::Browser;

pub(crate) fn check(browser: &mut Browser) {
    differences(browser);
    rates(browser);
    numbers(browser);
}

fn module(browser: &mut Browser, name: &str, expression: &str) -> serde_json::Value {
    browser.eval(&format!(
        "import('/console/js/{name}.js').then((m) => {expression})"
    ))
}

fn differences(browser: &mut Browser) {
    let diff = |browser: &mut Browser, a: &str, b: &str| {
        let call = format!(
            "m.lines({}, {}).map((step) => ({{ same: ' ', del: '-', add: '+' }})[step.kind] + step.text)",
            json!(a),
            json!(b)
        );
        module(browser, "diff", &call)
    };
    assert_eq!(diff(browser, "a\nb\n", "a\nb\n"), json!([" a", " b"]));
    assert_eq!(diff(browser, "", "a\n"), json!(["+a"]));
    assert_eq!(diff(browser, "a\n", ""), json!(["-a"]));
    assert_eq!(
        diff(browser, "a\nb\nc\nd\n", "a\nx\nc\ny\nd\n"),
        json!([" a", "-b", "+x", " c", "+y", " d"])
    );
    // Every difference of short texts leads from the one to the other, and none is longer than it
    // must be: the lines that stay are a longest common subsequence.
    let wrong = module(
        browser,
        "diff",
        r"{
            const texts = [''];
            for (const text of texts) if (text.length < 8) for (const c of 'ab') texts.push(text + c + '\n');
            const common = (a, b) => a.length === 0 || b.length === 0 ? 0
                : a[0] === b[0] ? 1 + common(a.slice(1), b.slice(1))
                : Math.max(common(a.slice(1), b), common(a, b.slice(1)));
            const plain = (text) => text.split('\n').slice(0, -1);
            const of = (steps, kinds) => steps.filter((s) => kinds.includes(s.kind)).map((s) => s.text).join();
            for (const a of texts) for (const b of texts) {
                const steps = m.lines(a, b);
                if (of(steps, ['same', 'del']) !== plain(a).join()) return [a, b, steps];
                if (of(steps, ['same', 'add']) !== plain(b).join()) return [a, b, steps];
                if (steps.filter((s) => s.kind === 'same').length !== common(plain(a), plain(b))) return [a, b, steps];
            }
            return null;
        }",
    );
    assert_eq!(wrong, json!(null));
    let folded = module(
        browser,
        "diff",
        "m.fold(m.lines('1\\n2\\n3\\n4\\n5\\n6\\n', '1\\n2\\n3\\n4\\n5\\nx\\n'), 1).map((s) => s.kind + ' ' + s.text)",
    );
    assert_eq!(folded, json!(["gap 4 lines", "same 5", "del 6", "add x"]));
}

fn rates(browser: &mut Browser) {
    assert_eq!(module(browser, "counters", "m.rate(10, 30, 2)"), json!(10));
    for unknown in [
        "m.rate(undefined, 1, 1)",
        "m.rate(30, 10, 2)",
        "m.rate(1, 2, 0)",
    ] {
        assert_eq!(
            module(browser, "counters", unknown),
            json!(null),
            "{unknown}"
        );
    }
    let busy = "m.load({ polls: 100, busy_polls: 10 }, { polls: 300, busy_polls: 60 })";
    assert_eq!(module(browser, "counters", busy), json!(0.25));
}

fn numbers(browser: &mut Browser) {
    let texts = "[m.count(1234567), m.short(0.5), m.short(9999), m.short(12345), m.short(4.2e9), \
        m.bits(125e6), m.percent(0.125), m.duration(350), m.duration(61000), m.duration(90061000), \
        m.endpoint('2001:db8::1', 80), m.endpoint('192.0.2.1', 80), m.count(null)]";
    assert_eq!(
        module(browser, "format", texts),
        json!([
            "1,234,567",
            "0.5",
            "9,999",
            "12.3k",
            "4.2G",
            "1 Gbit/s",
            "12.5%",
            "350 ms",
            "1 min 1 s",
            "1 d 1 h",
            "[2001:db8::1]:80",
            "192.0.2.1:80",
            "–"
        ])
    );
    let ceilings = "[0, 0.3, 1, 3, 7, 20, 45, 1001].map(m.ceiling)";
    assert_eq!(
        module(browser, "chart", ceilings),
        json!([1, 0.5, 1, 5, 10, 20, 50, 2000])
    );
}
