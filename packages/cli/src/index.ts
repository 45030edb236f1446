export { type DoctorOptions, doctor } from './doctor.ts';
export { examine, type Report, toJson } from './report.ts';
