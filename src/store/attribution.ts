/** What journal lines say for notifications: who asked for a change, and what it is called. */
import type { Via } from '../catalog/lines.js';
import type { Attribution } from './contract.js';

/** @param event what the change is called unless the caller names it otherwise. */
export function viaOf(via: Attribution | undefined, event: string): Via {
  const { principal, ip, requestId } = via ?? {};
  return {
    event: via?.event ?? event,
    time: Date.now(),
    ...(principal !== undefined && { principal }),
    ...(ip !== undefined && { ip }),
    ...(requestId !== undefined && { requestId }),
  };
}
