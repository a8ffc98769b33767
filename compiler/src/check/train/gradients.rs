//! Entries that tell how long the gradients of a step are.

use super::entries::{StepLoss, step_entry};
use super::{Plan, Step};
use crate::check::{Checker, Result};
use crate::graph::NodeId;

impl Checker<'_> {
    /// For each step an entry that gives the length of each gradient on a batch, as the step would find it, before any clipping. The step
    /// itself need not keep its gradients for that.
    pub(super) fn gradient_entries(&mut self, plan: &Plan<'_>) -> Vec<String> {
        let mut names = Vec::new();
        // What is wrong with a step was reported there.
        self.muted += 1;
        for step in &plan.steps {
            let name = step_entry(&plan.name, "gradients", step.name);
            let outer = self.open(&name, true);
            let made = self.gradient_body(plan, step).is_ok();
            let context = self.close(outer);
            if made {
                self.module.entries.push(context.finish(|_| false));
                names.push(name);
            }
        }
        self.muted -= 1;
        names
    }

    fn gradient_body(&mut self, plan: &Plan<'_>, step: &Step<'_>) -> Result<()> {
        let scope = self.batch_scope(plan)?;
        let words = self.step_words(step);
        self.lets(&plan.lets, &words, &scope)?;
        let scope = scope.inner();
        self.lets(&step.lets, &words, &scope)?;
        let mut taken = Vec::new();
        for &clause in &step.minimize {
            let StepLoss { loss, weights, .. } = self.step_loss(plan, step, clause, &scope, &mut taken)?;
            let nodes: Vec<NodeId> = weights.iter().map(|(_, node)| *node).collect();
            let gradients = self.gradients(loss.mean, None, &nodes, true, loss.span)?;
            for ((path, _), gradient) in weights.iter().zip(gradients) {
                let norm = self.norm(std::slice::from_ref(&gradient));
                if let Some(norm) = self.built(norm, loss.span)? {
                    self.context.output(path.clone(), norm);
                }
            }
        }
        Ok(())
    }
}
