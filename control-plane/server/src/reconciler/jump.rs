//! A clock that is set fires nothing: what is due in five minutes by the rows is due in five minutes after it, too.

use sampan_store::StoreError;

use super::Reconciler;
use crate::clock::Clocks;
use crate::objects;

impl Reconciler {
    /// Looks at both clocks, and moves along what is waited for when the wall clock was set.
    ///
    /// # Errors
    /// When the rows cannot be written: nothing may be decided by their times before the next look.
    pub(super) fn look_at_clocks(&mut self, now: i64) -> Result<(), StoreError> {
        let by = self.clocks.jump(now);
        if by != 0 {
            self.shift(by)?;
        }
        self.clocks = Clocks::new(now);
        Ok(())
    }

    /// Moves every time that is waited for, in rows and in memory.
    fn shift(&mut self, by: i64) -> Result<(), StoreError> {
        self.parts.store.write(|tx| {
            for o in tx.objects("application", None, None, usize::MAX)? {
                let app = o.id();
                let mut state = objects::state(tx, &app)?;
                state.shift(by);
                objects::put_state(tx, &app, &state)?;
                for mut row in objects::instances(tx, &app)? {
                    row.shift(by);
                    objects::put_instance(tx, &app, &row)?;
                }
            }
            for d in tx.documents(objects::WAVES, None)? {
                let mut row = objects::wave(tx, &d.key)?;
                row.since += by;
                objects::put_wave(tx, &d.key, &d.parent, &row)?;
            }
            Ok::<_, StoreError>(())
        })?;
        self.wakes.values_mut().for_each(|at| *at += by);
        self.orphans.values_mut().for_each(|(_, at)| *at += by);
        self.resolving.values_mut().for_each(|r| r.retry_at += by);
        self.schedules.shift(by);
        self.dirty.extend(self.serving.keys().cloned());
        tracing::warn!(seconds = by / 1000, "the clock was set; what is waited for was moved along with it");
        Ok(())
    }
}
