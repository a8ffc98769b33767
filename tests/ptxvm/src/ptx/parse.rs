//! Tokens → the tree of a module.

use super::lex::{Token, tokens};
use super::{Base, Function, Initial, Instruction, Item, Module, Operand, PtxError, Space, Variable};

type Result<T> = std::result::Result<T, PtxError>;

/// The module that a PTX text declares.
pub fn parse(text: &str) -> Result<Module<'_>> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let mut module = Module::default();
    while parser.peek().is_some() {
        parser.declaration(&mut module)?;
    }
    Ok(module)
}

struct Parser<'a> {
    tokens: Vec<(Token<'a>, u32)>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).map(|t| t.0)
    }

    fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |t| t.1)
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(PtxError { line: self.line(), message: message.into() })
    }

    fn next(&mut self) -> Result<Token<'a>> {
        let Some(token) = self.peek() else { return self.error("the text ends too early") };
        self.at += 1;
        Ok(token)
    }

    fn accept(&mut self, mark: char) -> bool {
        let found = self.peek() == Some(Token::Mark(mark));
        self.at += usize::from(found);
        found
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(Token::Word(word));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: char) -> Result<()> {
        match self.peek() {
            Some(Token::Mark(m)) if m == mark => {
                self.at += 1;
                Ok(())
            }
            other => self.error(format!("`{mark}` is missing before {other:?}")),
        }
    }

    fn word(&mut self) -> Result<&'a str> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(word)
            }
            other => self.error(format!("a name is missing before {other:?}")),
        }
    }

    fn integer(&mut self) -> Result<i64> {
        let negative = self.accept('-');
        match self.next()? {
            Token::Integer(v) => Ok(if negative { v.wrapping_neg() } else { v }),
            other => self.error(format!("a number is missing before {other:?}")),
        }
    }

    fn declaration(&mut self, module: &mut Module<'a>) -> Result<()> {
        let mut entry = false;
        loop {
            let line = self.line();
            let word = self.word()?;
            match word {
                ".version" => {
                    // `9.0` is read as the number 9 and the word `.0`.
                    self.next()?;
                    if matches!(self.peek(), Some(Token::Word(w)) if w.as_bytes()[1].is_ascii_digit()) {
                        self.at += 1;
                    }
                    return Ok(());
                }
                ".target" => {
                    module.target = self.word()?;
                    while self.accept(',') {
                        self.word()?;
                    }
                    return Ok(());
                }
                ".address_size" => {
                    if self.integer()? != 64 {
                        return self.error("only `.address_size 64` is modelled");
                    }
                    return Ok(());
                }
                ".file" => {
                    let number = self.integer()? as u32;
                    let Token::Text(name) = self.next()? else {
                        return self.error("`.file` needs a name in quotes");
                    };
                    module.files.push((number, name));
                    while self.accept(',') {
                        self.integer()?;
                    }
                    return Ok(());
                }
                // Debugging information in DWARF.
                ".section" => {
                    self.word()?;
                    self.expect('{')?;
                    while !self.accept('}') {
                        self.next()?;
                    }
                    return Ok(());
                }
                ".visible" | ".extern" | ".weak" | ".common" => {}
                ".entry" => {
                    entry = true;
                    module.functions.push(self.function(entry, line)?);
                    return Ok(());
                }
                ".func" => {
                    module.functions.push(self.function(entry, line)?);
                    return Ok(());
                }
                ".global" | ".const" | ".shared" => {
                    module.variables.push(self.variable(word, line)?);
                    return self.expect(';');
                }
                _ => {
                    self.at -= 1;
                    return self.error(format!("`{word}` at the top of a module is not modelled"));
                }
            }
        }
    }

    /// A variable after its space's word, without the `;`.
    fn variable(&mut self, space: &str, line: u32) -> Result<Variable<'a>> {
        let space = match space {
            ".global" => Space::Global,
            ".const" => Space::Constant,
            ".shared" => Space::Shared,
            ".local" => Space::Local,
            _ => Space::Parameter,
        };
        let (mut align, mut lanes) = (0, 1);
        let element = loop {
            let word = self.word()?;
            match word {
                ".align" => align = self.integer()? as u64,
                ".v2" => lanes = 2,
                ".v4" => lanes = 4,
                ".ptr" | ".global" | ".const" | ".shared" | ".local" => {}
                _ => match type_bytes(word) {
                    Some(bytes) => {
                        // `.param .u64 .ptr .global .align 1 name`
                        while let Some(Token::Word(".ptr" | ".global" | ".const" | ".shared" | ".local")) =
                            self.peek()
                        {
                            self.at += 1;
                        }
                        if self.accept_word(".align") {
                            self.integer()?;
                        }
                        break bytes * lanes;
                    }
                    None => {
                        self.at -= 1;
                        return self.error(format!("`{word}` is no type of a variable that is modelled"));
                    }
                },
            }
        };
        let name = self.word()?;
        let mut count = 1;
        while self.accept('[') {
            if self.accept(']') {
                count = 0;
            } else {
                count *= self.integer()? as u64;
                self.expect(']')?;
            }
        }
        let mut initial = Vec::new();
        if self.accept('=') {
            self.initial(&mut initial)?;
        }
        Ok(Variable { name, space, align: align.max(element), element, count, initial, line })
    }

    fn initial(&mut self, out: &mut Vec<Initial<'a>>) -> Result<()> {
        if self.accept('{') {
            while !self.accept('}') {
                self.initial(out)?;
                self.accept(',');
            }
            return Ok(());
        }
        let negative = self.accept('-');
        match self.next()? {
            Token::Integer(v) => out.push(Initial::Bits(if negative { v.wrapping_neg() } else { v } as u64)),
            Token::Float(v) => out.push(Initial::Bits(v.into())),
            Token::Double(v) => out.push(Initial::Bits(v)),
            Token::Word("generic") => {
                self.expect('(')?;
                let name = self.word()?;
                self.expect(')')?;
                let offset = if self.accept('+') { self.integer()? } else { 0 };
                out.push(Initial::Address(name, offset));
            }
            Token::Word(name) => {
                let offset = if self.accept('+') { self.integer()? } else { 0 };
                out.push(Initial::Address(name, offset));
            }
            other => return self.error(format!("{other:?} is no initialiser that is modelled")),
        }
        Ok(())
    }

    fn parameters(&mut self) -> Result<Vec<Variable<'a>>> {
        let mut out = Vec::new();
        if self.accept('(') {
            while !self.accept(')') {
                let line = self.line();
                let word = self.word()?;
                if word != ".param" {
                    self.at -= 1;
                    return self.error(format!("parameters in `{word}` are not modelled, only in `.param`"));
                }
                out.push(self.variable(word, line)?);
                self.accept(',');
            }
        }
        Ok(out)
    }

    fn function(&mut self, entry: bool, line: u32) -> Result<Function<'a>> {
        let results = self.parameters()?;
        let name = self.word()?;
        let parameters = self.parameters()?;
        let mut function =
            Function { name, entry, results, parameters, body: None, required: None, most: None, line };
        loop {
            match self.next()? {
                Token::Mark(';') => return Ok(function),
                Token::Mark('{') => break,
                Token::Word(".maxntid") => function.most = Some(self.dims()?.iter().product()),
                Token::Word(".reqntid") => function.required = Some(self.dims()?),
                Token::Word(".minnctapersm" | ".maxnreg" | ".maxnctapersm") => {
                    self.integer()?;
                }
                Token::Word(".noreturn") => {}
                Token::Word(".pragma") => {
                    self.next()?;
                    self.expect(';')?;
                }
                Token::Word(".attribute") => {
                    while !self.accept(')') {
                        self.next()?;
                    }
                }
                other => {
                    self.at -= 1;
                    return self.error(format!("{other:?} of `{name}` is not modelled"));
                }
            }
        }
        let (mut items, mut depth) = (Vec::new(), 1);
        while depth > 0 {
            match self.peek() {
                Some(Token::Mark('{')) => {
                    self.at += 1;
                    depth += 1;
                    items.push(Item::Open);
                }
                Some(Token::Mark('}')) => {
                    self.at += 1;
                    depth -= 1;
                    if depth > 0 {
                        items.push(Item::Close);
                    }
                }
                Some(Token::Mark(';')) => self.at += 1,
                _ => self.statement(&mut items)?,
            }
        }
        function.body = Some(items);
        Ok(function)
    }

    fn dims(&mut self) -> Result<[u32; 3]> {
        let mut dims = [1; 3];
        dims[0] = self.integer()? as u32;
        for dim in &mut dims[1..] {
            if self.accept(',') {
                *dim = self.integer()? as u32;
            }
        }
        Ok(dims)
    }

    fn statement(&mut self, items: &mut Vec<Item<'a>>) -> Result<()> {
        let line = self.line();
        if self.accept('@') {
            let negated = self.accept('!');
            let guard = self.word()?;
            let opcode = self.word()?;
            items.push(Item::Instruction(self.instruction(Some((guard, negated)), opcode, line)?));
            return Ok(());
        }
        let word = self.word()?;
        match word {
            ".loc" => {
                let (file, source) = (self.integer()? as u32, self.integer()? as u32);
                self.integer()?;
                if self.accept(',') {
                    self.inlined()?;
                }
                items.push(Item::Source { file, line: source });
            }
            ".pragma" => {
                self.next()?;
                self.expect(';')?;
            }
            ".reg" => {
                let ty = self.word()?;
                self.registers(ty, items)?;
            }
            // Without a space, as headers' inline assembly writes it.
            _ if word.starts_with(".reg.") => self.registers(&word[4..], items)?,
            ".shared" | ".local" | ".param" => loop {
                items.push(Item::Variable(self.variable(word, line)?));
                if self.accept(';') {
                    break;
                }
                self.expect(',')?;
            },
            _ if self.accept(':') => {
                if self.accept_word(".branchtargets") {
                    let mut names = vec![self.word()?];
                    while self.accept(',') {
                        names.push(self.word()?);
                    }
                    self.expect(';')?;
                    items.push(Item::Targets(word, names));
                } else if let Some(Token::Word(next @ (".callprototype" | ".calltargets"))) = self.peek() {
                    return self.error(format!("`{next}` (a call through a pointer) is not modelled"));
                } else {
                    items.push(Item::Label(word));
                }
            }
            _ if word.starts_with('.') => {
                self.at -= 1;
                return self.error(format!("the directive `{word}` is not modelled"));
            }
            _ => items.push(Item::Instruction(self.instruction(None, word, line)?)),
        }
        Ok(())
    }

    /// `function_name $L__info_string0, inlined_at 1 20 3`
    fn inlined(&mut self) -> Result<()> {
        self.word()?;
        self.word()?;
        if self.accept('+') {
            self.integer()?;
        }
        self.expect(',')?;
        self.word()?;
        for _ in 0..3 {
            self.integer()?;
        }
        Ok(())
    }

    fn registers(&mut self, word: &'a str, items: &mut Vec<Item<'a>>) -> Result<()> {
        let predicate = word == ".pred";
        let Some(bytes) = (if predicate { Some(4) } else { type_bytes(word) }).filter(|b| *b <= 8) else {
            self.at -= 1;
            return self.error(format!("registers of the type `{word}` are not modelled"));
        };
        loop {
            let name = self.word()?;
            let mut count = None;
            if self.accept('<') {
                count = Some(self.integer()? as u32);
                self.expect('>')?;
            }
            items.push(Item::Register { bytes: bytes as u8, predicate, name, count });
            if self.accept(';') {
                return Ok(());
            }
            self.expect(',')?;
        }
    }

    fn instruction(
        &mut self,
        guard: Option<(&'a str, bool)>,
        opcode: &'a str,
        line: u32,
    ) -> Result<Instruction<'a>> {
        let mut operands = Vec::new();
        while !self.accept(';') {
            operands.push(self.operand()?);
            if !self.accept(',') {
                self.expect(';')?;
                break;
            }
        }
        Ok(Instruction { guard, opcode, operands, line })
    }

    fn operand(&mut self) -> Result<Operand<'a>> {
        Ok(match self.next()? {
            Token::Integer(v) => Operand::Integer(v),
            Token::Float(v) => Operand::Float(v),
            Token::Double(v) => Operand::Double(v),
            Token::Mark('-') => match self.next()? {
                Token::Integer(v) => Operand::Integer(v.wrapping_neg()),
                Token::Float(v) => Operand::Float(v ^ 0x8000_0000),
                Token::Double(v) => Operand::Double(v ^ (1 << 63)),
                other => return self.error(format!("a number is missing before {other:?}")),
            },
            Token::Mark('!') => Operand::Not(self.word()?),
            Token::Mark('{') => {
                let mut list = Vec::new();
                while !self.accept('}') {
                    list.push(self.operand()?);
                    self.accept(',');
                }
                Operand::Vector(list)
            }
            Token::Mark('(') => {
                let mut list = Vec::new();
                while !self.accept(')') {
                    list.push(self.word()?);
                    self.accept(',');
                }
                Operand::List(list)
            }
            Token::Mark('[') => {
                let (base, mut offset) = match self.next()? {
                    Token::Word(name) => (Base::Name(name), 0),
                    Token::Integer(v) => (Base::Number, v),
                    other => return self.error(format!("{other:?} is no address that is modelled")),
                };
                // `+8`, `+-8`, `-8`
                if self.accept('+') || self.peek() == Some(Token::Mark('-')) {
                    offset = offset.wrapping_add(self.integer()?);
                }
                self.expect(']')?;
                Operand::Address(base, offset)
            }
            Token::Word(name) => {
                if self.accept('|') {
                    Operand::Pair(name, self.word()?)
                } else if self.accept('+') {
                    Operand::Offset(name, self.integer()?)
                } else {
                    Operand::Name(name)
                }
            }
            other => return self.error(format!("{other:?} is no operand that is modelled")),
        })
    }
}

/// The size of a plain type's value; none for other words and for `.pred`.
fn type_bytes(word: &str) -> Option<u64> {
    Some(match word {
        ".b8" | ".u8" | ".s8" => 1,
        ".b16" | ".u16" | ".s16" | ".f16" | ".bf16" => 2,
        ".b32" | ".u32" | ".s32" | ".f32" | ".f16x2" | ".bf16x2" => 4,
        ".b64" | ".u64" | ".s64" | ".f64" => 8,
        ".b128" => 16,
        _ => return None,
    })
}
