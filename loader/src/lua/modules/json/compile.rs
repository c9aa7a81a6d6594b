//! A schema's text to its rules.

use std::collections::HashMap;

use regex_lite::Regex;
use serde_json::{Map, Value};

use super::format::Format;
use super::resources::Resources;
use super::schema::{DEPTH_MAX, Node, Ref, Rule, Type};

/// The nodes of `source`; the first is its root.
pub(super) fn compile(source: &Value) -> Result<Vec<Node>, String> {
    let resources = Resources::of(source)?;
    let (nodes, places) = (Vec::new(), HashMap::new());
    let mut compiler = Compiler { root: source, resources, depth: 0, nodes, places };
    compiler.node("", source)?;
    Ok(compiler.nodes)
}

struct Compiler<'a> {
    root: &'a Value,
    /// What references lead to.
    resources: Resources,
    depth: usize,
    nodes: Vec<Node>,
    /// The node of each place that was met, so that references may lead in circles.
    places: HashMap<String, Ref>,
}

impl Compiler<'_> {
    fn node(&mut self, place: &str, source: &Value) -> Result<Ref, String> {
        if let Some(found) = self.places.get(place) {
            return Ok(*found);
        }
        if self.depth == DEPTH_MAX {
            return Err(format!("schemas and references are nested deeper than {DEPTH_MAX}"));
        }
        self.depth += 1;
        let node = self.nodes.len();
        self.nodes.push(Node::Always);
        self.places.insert(place.to_owned(), node);
        self.nodes[node] = match source {
            Value::Bool(true) => Node::Always,
            Value::Bool(false) => Node::Never,
            Value::Object(source) => Node::Rules(Rules { compiler: self, place, source }.compile()?),
            // Lua's empty table.
            Value::Array(items) if items.is_empty() => Node::Always,
            _ => return Err(format!("at `#{place}`: a schema must be an object or a boolean")),
        };
        self.depth -= 1;
        Ok(node)
    }
}

/// The keywords of one schema object.
struct Rules<'c, 'a, 's> {
    compiler: &'c mut Compiler<'a>,
    place: &'s str,
    source: &'s Map<String, Value>,
}

impl Rules<'_, '_, '_> {
    fn compile(mut self) -> Result<Vec<Rule>, String> {
        let mut rules = Vec::new();
        for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
            let Some(target) = self.text(keyword)? else { continue };
            // Among several resources they lead to what was gone through before, in one to what they name.
            if keyword != "$ref" && self.compiler.resources.are_several() {
                return Err(
                    self.wrong(keyword, "left out in a schema with several `$id`s: it is not supported")
                );
            }
            rules.push(Rule::Reference(self.reference(keyword, &target)?));
        }
        self.values(&mut rules)?;
        self.numbers(&mut rules)?;
        self.strings(&mut rules)?;
        self.arrays(&mut rules)?;
        self.objects(&mut rules)?;
        self.combinations(&mut rules)?;
        // They look at what all others leave.
        rules.extend(self.schema("unevaluatedItems")?.map(Rule::UnevaluatedItems));
        rules.extend(self.schema("unevaluatedProperties")?.map(Rule::UnevaluatedProperties));
        Ok(rules)
    }

    fn wrong(&self, keyword: &str, expected: &str) -> String {
        format!("at `#{}`: `{keyword}` must be {expected}", self.place)
    }

    fn reference(&mut self, keyword: &str, target: &str) -> Result<Ref, String> {
        let nowhere = || self.wrong(keyword, &format!("a place in the schema itself, found `{target}`"));
        let pointer = self.compiler.resources.find(self.place, target).ok_or_else(nowhere)?;
        let source = self.compiler.root.pointer(&pointer).ok_or_else(nowhere)?;
        let source = source.clone();
        self.compiler.node(&pointer, &source)
    }

    /// The schema at `keyword`.
    fn schema(&mut self, keyword: &str) -> Result<Option<Ref>, String> {
        let Some(source) = self.source.get(keyword) else { return Ok(None) };
        self.compiler.node(&format!("{}/{keyword}", self.place), source).map(Some)
    }

    /// The schemas of the array at `keyword`.
    fn schemas(&mut self, keyword: &str) -> Result<Option<Vec<Ref>>, String> {
        let Some(source) = self.source.get(keyword) else { return Ok(None) };
        let Value::Array(items) = source else { return Err(self.wrong(keyword, "an array of schemas")) };
        let nodes = items.iter().enumerate();
        let place = self.place;
        nodes
            .map(|(index, item)| self.compiler.node(&format!("{place}/{keyword}/{index}"), item))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// The fields of the object at `keyword`; none when it is Lua's empty table.
    fn fields(&self, keyword: &str) -> Result<Vec<(&str, &Value)>, String> {
        match self.source.get(keyword) {
            None => Ok(Vec::new()),
            Some(Value::Object(fields)) => Ok(fields.iter().map(|(k, v)| (k.as_str(), v)).collect()),
            Some(Value::Array(items)) if items.is_empty() => Ok(Vec::new()),
            Some(_) => Err(self.wrong(keyword, "an object")),
        }
    }

    /// The schemas of the object at `keyword`.
    fn named(&mut self, keyword: &str) -> Result<Vec<(String, Ref)>, String> {
        let fields = self.fields(keyword)?.into_iter().filter(|(_, value)| {
            // Of `dependencies`, which has both schemas and lists of names.
            keyword != "dependencies" || !is_list(value)
        });
        let fields: Vec<(String, Value)> =
            fields.map(|(key, value)| (key.to_owned(), value.clone())).collect();
        let place = self.place;
        fields
            .into_iter()
            .map(|(key, value)| {
                let step = key.replace('~', "~0").replace('/', "~1");
                Ok((key, self.compiler.node(&format!("{place}/{keyword}/{step}"), &value)?))
            })
            .collect()
    }

    fn text(&self, keyword: &str) -> Result<Option<String>, String> {
        match self.source.get(keyword) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(keyword, "a string")),
        }
    }

    fn number(&self, keyword: &str) -> Result<Option<f64>, String> {
        match self.source.get(keyword) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| self.wrong(keyword, "a number")),
        }
    }

    fn count(&self, keyword: &str) -> Result<Option<usize>, String> {
        let Some(count) = self.number(keyword)? else { return Ok(None) };
        if count < 0.0 || count.fract() != 0.0 {
            return Err(self.wrong(keyword, "a non-negative integer"));
        }
        // Saturates: no value has as many of anything.
        Ok(Some(count as usize))
    }

    fn flag(&self, keyword: &str) -> Result<bool, String> {
        match self.source.get(keyword) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(keyword, "a boolean")),
        }
    }

    fn strings_of(&self, keyword: &str, value: &Value) -> Result<Vec<String>, String> {
        let items = value.as_array().map(Vec::as_slice);
        let items =
            items.and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        items.ok_or_else(|| self.wrong(keyword, "an array of strings"))
    }

    fn regex(&self, keyword: &str, pattern: &str) -> Result<Regex, String> {
        Regex::new(pattern)
            .map_err(|error| format!("{}: {error}", self.wrong(keyword, "a regular expression")))
    }

    fn values(&mut self, rules: &mut Vec<Rule>) -> Result<(), String> {
        if let Some(value) = self.source.get("type") {
            let names = match value {
                Value::String(name) => vec![name.clone()],
                value => self.strings_of("type", value)?,
            };
            let types = names.iter().map(|name| Type::ALL.iter().find(|(_, known)| known == name));
            let types: Option<Vec<Type>> = types.map(|found| found.map(|(kind, _)| *kind)).collect();
            rules.push(Rule::Type(types.ok_or_else(|| self.wrong("type", "a type or an array of types"))?));
        }
        if let Some(value) = self.source.get("enum") {
            let Value::Array(values) = value else { return Err(self.wrong("enum", "an array")) };
            rules.push(Rule::Enum(values.clone()));
        }
        if let Some(value) = self.source.get("const") {
            rules.push(Rule::Const(value.clone()));
        }
        Ok(())
    }

    fn numbers(&mut self, rules: &mut Vec<Rule>) -> Result<(), String> {
        let both = [
            (
                "minimum",
                "exclusiveMinimum",
                Rule::Minimum as fn(f64) -> Rule,
                Rule::ExclusiveMinimum as fn(f64) -> Rule,
            ),
            ("maximum", "exclusiveMaximum", Rule::Maximum, Rule::ExclusiveMaximum),
        ];
        for (inclusive, exclusive, at_least, beyond) in both {
            let limit = self.number(inclusive)?;
            // Draft 4 has a flag beside the limit.
            if let Some(Value::Bool(flag)) = self.source.get(exclusive) {
                rules.extend(limit.map(if *flag { beyond } else { at_least }));
                continue;
            }
            rules.extend(limit.map(at_least));
            rules.extend(self.number(exclusive)?.map(beyond));
        }
        if let Some(value) = self.source.get("multipleOf") {
            let divisor = value.as_number().filter(|number| number.as_f64().is_some_and(|n| n > 0.0));
            let divisor = divisor.ok_or_else(|| self.wrong("multipleOf", "a number above 0"))?;
            rules.push(Rule::MultipleOf(divisor.clone()));
        }
        Ok(())
    }

    fn strings(&mut self, rules: &mut Vec<Rule>) -> Result<(), String> {
        rules.extend(self.count("minLength")?.map(Rule::MinLength));
        rules.extend(self.count("maxLength")?.map(Rule::MaxLength));
        if let Some(pattern) = self.text("pattern")? {
            rules.push(Rule::Pattern(self.regex("pattern", &pattern)?));
        }
        if let Some(name) = self.text("format")? {
            rules.extend(Format::named(&name).map(Rule::Format));
        }
        Ok(())
    }

    fn arrays(&mut self, rules: &mut Vec<Rule>) -> Result<(), String> {
        rules.extend(self.count("minItems")?.map(Rule::MinItems));
        rules.extend(self.count("maxItems")?.map(Rule::MaxItems));
        if self.flag("uniqueItems")? {
            rules.push(Rule::UniqueItems);
        }
        // Before 2020-12 the tuple was `items` itself, and the rest `additionalItems`.
        let tuple = matches!(self.source.get("items"), Some(Value::Array(items)) if !items.is_empty());
        let (prefix, rest) = if tuple {
            (self.schemas("items")?, self.schema("additionalItems")?)
        } else {
            (self.schemas("prefixItems")?, self.schema("items")?)
        };
        if prefix.is_some() || rest.is_some() {
            rules.push(Rule::Items { prefix: prefix.unwrap_or_default(), rest });
        }
        if let Some(schema) = self.schema("contains")? {
            let min = self.count("minContains")?.unwrap_or(1);
            rules.push(Rule::Contains { schema, min, max: self.count("maxContains")?.unwrap_or(usize::MAX) });
        }
        Ok(())
    }

    fn objects(&mut self, rules: &mut Vec<Rule>) -> Result<(), String> {
        rules.extend(self.count("minProperties")?.map(Rule::MinProperties));
        rules.extend(self.count("maxProperties")?.map(Rule::MaxProperties));
        rules.extend(self.schema("propertyNames")?.map(Rule::PropertyNames));
        // In draft 3 and in many schemas of today it is a flag of the property: no array, no rule.
        if let Some(value) = self.source.get("required").filter(|value| !value.is_boolean()) {
            rules.push(Rule::Required(self.strings_of("required", value)?));
        }
        let patterns = self.named("patternProperties")?;
        let patterns =
            patterns.into_iter().map(|(text, node)| Ok((self.regex("patternProperties", &text)?, node)));
        let patterns: Vec<(Regex, Ref)> = patterns.collect::<Result<_, String>>()?;
        let named: HashMap<String, Ref> = self.named("properties")?.into_iter().collect();
        let others = self.schema("additionalProperties")?;
        if !named.is_empty() || !patterns.is_empty() || others.is_some() {
            rules.push(Rule::Properties { named, patterns, others });
        }
        let mut required = Vec::new();
        for keyword in ["dependentRequired", "dependencies"] {
            for (key, value) in self.fields(keyword)? {
                if keyword == "dependentRequired" || is_list(value) {
                    required.push((key.to_owned(), self.strings_of(keyword, value)?));
                }
            }
        }
        if !required.is_empty() {
            rules.push(Rule::DependentRequired(required));
        }
        let mut schemas = self.named("dependentSchemas")?;
        schemas.extend(self.named("dependencies")?);
        if !schemas.is_empty() {
            rules.push(Rule::DependentSchemas(schemas));
        }
        Ok(())
    }

    fn combinations(&mut self, rules: &mut Vec<Rule>) -> Result<(), String> {
        rules.extend(self.schemas("allOf")?.map(Rule::AllOf));
        rules.extend(self.schemas("anyOf")?.map(Rule::AnyOf));
        rules.extend(self.schemas("oneOf")?.map(Rule::OneOf));
        rules.extend(self.schema("not")?.map(Rule::Not));
        if let Some(condition) = self.schema("if")? {
            let (then, otherwise) = (self.schema("then")?, self.schema("else")?);
            rules.push(Rule::If { condition, then, otherwise });
        }
        Ok(())
    }
}

/// Whether `value` is a list of names and no schema.
fn is_list(value: &Value) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty())
}
