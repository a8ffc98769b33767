//! What stands for the tokenizers of [`super::model`] in a build without the feature `text`.

const ABSENT: &str = "this build reads no text (it is without the feature `text`)";

pub enum Model {}

impl Model {
    pub fn from_json(_: &str) -> Result<Model, String> {
        Err(ABSENT.into())
    }

    pub fn encode(&self, _: &str, _: bool) -> Result<Vec<i32>, String> {
        match *self {}
    }

    pub fn decode(&self, _: &[u32], _: bool) -> Result<String, String> {
        match *self {}
    }

    pub fn id_of(&self, _: &str) -> Option<u32> {
        match *self {}
    }

    pub fn token_of(&self, _: u32) -> Option<String> {
        match *self {}
    }

    pub fn size(&self) -> usize {
        match *self {}
    }

    pub fn has_whole_words(&self) -> bool {
        match *self {}
    }

    pub fn pad(&self) -> Option<u32> {
        match *self {}
    }

    pub fn each_word(&self, _: &str, _: &mut dyn FnMut(&str)) -> Result<(), String> {
        match *self {}
    }
}
